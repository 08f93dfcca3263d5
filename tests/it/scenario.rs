//! The whole daemon, as a process, against private servers.

mod alone;
mod archive;
mod control;
mod disk;
mod faults;
mod kill;
mod lag;
mod orders;
mod plugins;
mod reload;
mod servers;
mod siege;
mod telemetry;
mod types;
mod verify;

use driftd_tests::mariadb;
use driftd_tests::scenario::Scenario;

/// A scenario of the program under test, with the password where the configuration looks for it.
fn scenario(config: &str) -> Scenario {
    let scenario = Scenario::new(env!("CARGO_BIN_EXE_driftd-under-test"), config);
    scenario.write("password", mariadb::PASSWORD);
    scenario
}
