//! The gateway as a black box: a whole gateway, real sockets, and an upstream that records every byte.

mod support;

mod credentials;
