//! D: anyone who sends or takes too much, too little or too slowly, while everybody else is answered.

mod floods;
mod limits;
mod slow_clients;
