//! The protocol against a provider on loopback that shows every fault, each beside what is right.

mod documents;
mod groups;
mod logout;
mod refresh;
mod sign_in;
mod token_request;
mod tokens;
mod userinfo;

use super::testing::*;
use super::*;
