//! What passes is never drift.

use super::*;

#[test]
fn what_is_only_in_flight_is_never_reported() {
    for mut setting in settings() {
        setting.pairing.versioned = setting.seed % 2 == 0;
        let mut sim = Sim::new(setting.clone());
        sim.run_for(seconds(240));
        expect(&sim, &setting, judge::sound(&sim.record));
        expect(&sim, &setting, judge::silent(&sim.record));
        assert!(sim.record.suspects_max > 0, "there was something to suspect");
    }
}

#[test]
fn without_patience_what_is_in_flight_is_reported() {
    for mut setting in settings().take(4) {
        setting.pairing.settle.lag_budget = seconds(0);
        setting.pairing.settle.settle = seconds(0);
        let mut sim = Sim::new(setting);
        sim.run_for(seconds(100));
        assert!(judge::silent(&sim.record).is_err(), "the checker must object");
    }
}
