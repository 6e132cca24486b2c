//! What happens to the store meanwhile, and to the clock.

use std::time::{Duration, Instant};

use super::honest::Record;
use crate::hanging_store::until_noticed;
use crate::support::Gateway;
use crate::support::bound::Stopwatch;
use crate::support::relay::Relay;

/// From the store's return to where the gateway is ready again (`docs/operations.md`).
const RETURN: Duration = Duration::from_secs(5);
/// Answers between two steps of the clock.
const SOME: usize = 50;
const STEP: Duration = Duration::from_hours(2);

/// What a store may do.
#[derive(Clone, Copy, Debug)]
pub enum Storm {
    /// It says nothing for a while, and then everything.
    Stall,
    /// Another server took over: this one takes no changes any more.
    Failover,
    /// Connections are silent for ever, new ones are well.
    HalfOpen,
    /// It starts again.
    Restart,
}

pub const STORMS: [Storm; 4] = [Storm::Failover, Storm::Stall, Storm::HalfOpen, Storm::Restart];

impl Storm {
    /// Has it happen, and waits until it is over.
    pub async fn rage(self, gateway: &Gateway, relay: &Relay, record: &Record) {
        let began = Instant::now();
        let returned = match self {
            Self::Failover => {
                relay.say("SET default_transaction_read_only = on").await;
                Stopwatch::start()
            }
            Self::HalfOpen => {
                relay.swallow().await;
                let returned = Stopwatch::start();
                until_noticed(gateway, tokio::time::Instant::now()).await;
                returned
            }
            Self::Stall => {
                relay.hold();
                gateway.until_ready(false).await;
                relay.release();
                Stopwatch::start()
            }
            Self::Restart => {
                relay.close().await;
                gateway.until_ready(false).await;
                relay.open();
                Stopwatch::start()
            }
        };
        gateway.until_ready(true).await;
        returned.check_against(RETURN, &format!("readiness after {self:?}"));
        record.outage_since(began);
        record.sees(SOME).await;
    }
}

/// The clock is set forward and back again, and back and forward again.
pub async fn turn_the_clock(gateway: &Gateway, record: &Record) {
    for forward in [true, false, false, true] {
        if forward {
            gateway.clock.advance(STEP);
        } else {
            gateway.clock.set_back(STEP);
        }
        record.sees(SOME).await;
    }
}
