//! Decides what to do next. Events in, decisions out.
//!
//! Owns what is in flight, what is next, what settles, what is drift, and when to abort. Refuses to
//! read a clock, to wait, to log or to touch a store: so a test drives it with a list of events, and a
//! simulation replays it by its seed. Invariant: every change of what it knows that a restart would
//! need is in the commit of the same decision, and jobs are only what that commit allows.

mod admission;
mod anew;
mod criteria;
mod crowds;
mod findings;
mod held;
mod outages;
mod pairing;
mod passes;
mod remap;
mod rules;
mod suspects;
mod tally;
mod unsettled;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::time::Duration;

use crate::abort;
use crate::model::{
    Answer, Asked, Command, Commit, CriterionState, Direction, DriftKind, Extent, Fault, Finding,
    FindingStatus, Happening, HookJob, InvariantDef, Key, Leads, Look, MappingIdentity, Moment,
    NamedKey, Note, Occurrence, Outage, Outcome, PairingStatus, Partition, RelationNames, Saved,
    Side, Sighting,
};
use crate::settle::Charged;
use crate::{plan, settle};

use admission::{Admission, Room};
use criteria::Criteria;
use held::Held;
use outages::Outages;
use pairing::Pairing;

/// What the engine must know of a pairing.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Its name.
    pub name: String,
    /// What its results hold under.
    pub identity: MappingIdentity,
    /// Which side leads.
    pub leads: Leads,
    /// How it is read.
    pub reading: plan::Reading,
    /// How its passes go.
    pub plan: plan::Settings,
    /// How its suspects are judged.
    pub settle: settle::Settings,
    /// The seed of its orders.
    pub seed: u64,
    /// Its entity types, as keys number them.
    pub entities: Vec<EntitySpec>,
    /// Its invariants.
    pub invariants: Vec<InvariantDef>,
    /// What the relations of source and target are called, as places number them.
    pub relations: [Vec<RelationNames>; 2],
}

/// What the engine must know of an entity type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntitySpec {
    /// Its name.
    pub name: String,
    /// Names of its compared fields, in the order of their digests.
    pub fields: Vec<String>,
    /// Whether its declared versions are points in time.
    pub version_is_time: bool,
}

impl Spec {
    /// The type of the entity with this key; none: it stands for a row that no entity is known of.
    #[must_use]
    pub fn entity(&self, key: &Key) -> Option<&EntitySpec> {
        if key.is_of_row() { None } else { self.entities.get(key.entity_type()) }
    }

    /// The key with the name of its type.
    fn named(&self, key: &Key) -> NamedKey {
        let entity = self.entity(key).map(|entity| entity.name.clone());
        NamedKey { key: key.clone(), entity }
    }

    /// The names of these compared fields of the entity with this key.
    fn names(&self, key: &Key, fields: &[usize]) -> Vec<String> {
        let known = self.entity(key).map_or(&[][..], |entity| &entity.fields);
        fields.iter().filter_map(|&at| known.get(at).cloned()).collect()
    }

    /// The name of the type that so many entities are all of, as far as their sample tells: of several
    /// types only a sample that names each of them does.
    fn shared(&self, sample: &[NamedKey], entities: u64) -> Option<String> {
        let types: BTreeSet<Option<&str>> =
            sample.iter().map(|named| named.entity.as_deref()).collect();
        let told = match self.entities.as_slice() {
            [one] if types.is_empty() => Some(one.name.as_str()),
            [_one] => types.first().copied().flatten(),
            _ if entities > sample.len() as u64 => None,
            _ => types.first().copied().flatten(),
        };
        told.filter(|_| types.len() <= 1).map(str::to_owned)
    }

    /// Whether the declared version of the entity with this key is a point in time.
    fn version_is_time(&self, key: &Key) -> bool {
        self.entity(key).is_some_and(|entity| entity.version_is_time)
    }

    /// Whether the declared versions of any of its types are points in time.
    fn has_times(&self) -> bool {
        self.entities.iter().any(|entity| entity.version_is_time)
    }

    /// What would be wrong with a key that was seen so, if it stood still: kinds of drift, each with
    /// the fields or the invariant that it is about.
    #[must_use]
    pub fn wrong(&self, sighting: &Sighting, now: Moment) -> Vec<(DriftKind, Vec<String>)> {
        let origin = settle::Origin { pairing: &self.name, identity: self.identity, check: 0 };
        let sides = (sighting.state(self.leads.leader()), sighting.state(self.leads.follower()));
        let suspect = settle::suspect(&origin, sighting, sides, now, &self.settle);
        let named = settle::charges(&suspect).into_iter().map(|charge| {
            let names = match charge.what {
                Charged::Presence { .. } => Vec::new(),
                Charged::Fields(fields) => self.names(&sighting.key, &fields),
                Charged::Invariant(at) => self
                    .invariants
                    .get(at)
                    .map(|invariant| invariant.id.clone())
                    .into_iter()
                    .collect(),
            };
            (charge.kind, names)
        });
        named.collect()
    }
}

/// How long a hook may take.
#[derive(Clone, Debug)]
pub struct HookTiming {
    /// The hook's name.
    pub name: String,
    /// Over all tries, before it is recorded as failed.
    pub deadline: Duration,
    /// Wait before the second try; doubles up to five minutes.
    pub backoff: Duration,
}

/// How long a run goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// For ever.
    Stopped,
    /// One pass, and until its suspects are decided.
    OnePass,
}

/// What an engine starts with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The pairings.
    pub pairings: Vec<Spec>,
    /// When the migration must stop.
    pub abort: abort::Settings,
    /// The hooks.
    pub hooks: Vec<HookTiming>,
    /// How long the run goes on.
    pub until: Until,
    /// How many checks, looks and splits of all pairings may be in flight at once.
    pub slots: NonZeroU32,
}

/// Everything that can happen.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "one is made a check, and handed on once")]
pub enum Event {
    /// The run begins, or goes on after a restart.
    Started,
    /// A relation was cut into extents, or could not be.
    Split {
        /// The pairing's position.
        pairing: usize,
        /// The direction it was cut for.
        direction: Direction,
        /// The extents.
        extents: Result<Vec<Extent>, Fault>,
        /// Columns that the plan neither uses nor ignores, of sides whose relations say which they have.
        unmapped: BTreeMap<Side, BTreeSet<String>>,
    },
    /// A check ended.
    Checked {
        /// Its number.
        check: u64,
        /// When it began.
        began: Moment,
        /// What it says.
        outcome: Outcome,
    },
    /// A look ended.
    Looked {
        /// Its number.
        look: u64,
        /// What it says.
        result: Look,
    },
    /// A hook ended.
    HookEnded {
        /// The job's number.
        job: u64,
        /// Whether it succeeded.
        success: bool,
        /// How it ended, in words.
        detail: String,
    },
    /// A store stands otherwise than before, or this is how it stands as the run begins.
    Store {
        /// Its name.
        store: String,
        /// Why it is down; none: nothing says that it is.
        outage: Option<Outage>,
        /// The pairings that read it, by position.
        pairings: Vec<usize>,
    },
    /// Pairings, by position, are to go on under another mapping, each as soon as nothing of it is in
    /// flight.
    Remap(Vec<(usize, Spec)>),
    /// Pairings that could not be begun can be now: they take the next positions.
    Joined(Vec<Spec>),
    /// A person asks for something.
    Commanded {
        /// The command's number in the journal.
        id: i64,
        /// What is asked.
        command: Command,
    },
    /// Time passed.
    Tick,
    /// Nothing new may begin.
    Drain,
}

/// Something to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Job {
    /// Cut the scanned relation of a direction into extents.
    Split {
        /// The pairing's position.
        pairing: usize,
        /// The direction.
        direction: Direction,
    },
    /// Check a partition.
    Check {
        /// Its number.
        check: u64,
        /// The pairing's position.
        pairing: usize,
        /// The partition.
        partition: Partition,
        /// Differing keys beyond which it is a crowd.
        crowd: usize,
    },
    /// Look at some keys again.
    Look {
        /// Its number.
        look: u64,
        /// The pairing's position.
        pairing: usize,
        /// The keys.
        asked: Vec<Asked>,
    },
    /// Run a hook.
    Hook(HookJob),
}

/// What one event calls for. The commit comes first: nothing else may be done before it is durable.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// What must be durable.
    pub commit: Commit,
    /// Pairings, by position, that go on under their new mapping: the jobs are of it already.
    pub remapped: Vec<usize>,
    /// What to do then.
    pub jobs: Vec<Job>,
    /// What telemetry may be told.
    pub notes: Vec<Note>,
    /// When to tick next, if nothing happens before.
    pub wake: Option<Moment>,
    /// Whether all is done.
    pub finished: bool,
}

/// The state behind the decisions; `run` owns the only one.
#[derive(Debug)]
pub struct Engine {
    pairings: Vec<Pairing>,
    /// Those that cannot be begun.
    held: Vec<Held>,
    criteria: Criteria,
    admission: Admission,
    outages: Outages,
    until: Until,
    draining: bool,
    numbers: Numbers,
    removed: Removed,
}

/// What the journal holds of pairings that are configured no longer.
#[derive(Debug, Default)]
struct Removed {
    pairings: BTreeSet<String>,
    findings: Vec<Finding>,
}

impl Removed {
    fn new(saved: &Saved, specs: &[Spec]) -> Self {
        let gone = |name: &&String| specs.iter().all(|spec| spec.name != **name);
        let findings = saved.findings.iter().filter(|finding| gone(&&finding.pairing)).cloned();
        let names = saved.status.iter().map(|status| &status.pairing);
        let names = names.chain(saved.passes.iter().map(|pass| &pass.pairing));
        let names = names.chain(saved.findings.iter().map(|finding| &finding.pairing));
        Self { pairings: names.filter(gone).cloned().collect(), findings: findings.collect() }
    }

    /// A pairing is configured after all.
    fn keep(&mut self, pairing: &str) {
        self.pairings.remove(pairing);
        self.findings.retain(|finding| finding.pairing != pairing);
    }
}

/// The last numbers given.
#[derive(Clone, Copy, Debug, Default)]
struct Numbers {
    finding: u64,
    occurrence: u64,
    hook: u64,
    /// Checks and looks. In a new process they go on behind the last check that anything speaks of.
    job: u64,
}

impl Numbers {
    fn job(&mut self) -> u64 {
        self.job += 1;
        self.job
    }
}

/// A decision in the making.
struct Step<'a> {
    now: Moment,
    /// Suspects and open findings of all pairings, as the step began.
    held: usize,
    /// Members that crowds of all pairings hold.
    members: usize,
    decision: &'a mut Decision,
    numbers: &'a mut Numbers,
    draining: bool,
    until: Until,
    room: Room,
}

impl Step<'_> {
    /// Something that alerting systems must learn. Returns its number.
    fn happened(&mut self, what: Happening) -> u64 {
        self.numbers.occurrence += 1;
        let number = self.numbers.occurrence;
        self.decision.notes.push(Note::Happened(what.clone()));
        self.decision.commit.occurrences.push(Occurrence { number, at: self.now, what });
        number
    }

    /// A finding does not hold under what is configured now.
    fn supersede(&mut self, mut finding: Finding) {
        finding.status = FindingStatus::Superseded(self.now);
        self.decision.commit.findings.push(finding.clone());
        self.happened(Happening::Superseded(finding));
    }

    /// A job that reads begins, in a slot that is free.
    fn read(&mut self, job: Job) {
        debug_assert!(self.room.free > 0, "nothing that reads begins without a slot");
        self.room.free = self.room.free.saturating_sub(1);
        self.decision.jobs.push(job);
    }

    /// Something will be due then. What is due already is not waited for: it waits for something
    /// else, whose end is an event.
    fn wake(&mut self, at: Moment) {
        if at <= self.now {
            return;
        }
        let wake = self.decision.wake.map_or(at, |wake| wake.min(at));
        self.decision.wake = Some(wake);
    }
}

/// Does what a person asks for.
fn obey(
    (criteria, pairings): (&mut Criteria, &mut [Pairing]),
    step: &mut Step<'_>,
    command: Command,
) -> Answer {
    match command {
        Command::Reset { criterion } => criteria.reset(step, &criterion),
        Command::Test { criterion } => criteria.test(step, &criterion),
        Command::Ignore { finding, until } => pairings
            .iter_mut()
            .find_map(|pairing| pairing.ignore(step, finding, until))
            .ok_or_else(|| format!("there is no open finding {finding}")),
    }
}

/// The largest number of a check that something open speaks of.
fn last_check(saved: &Saved) -> u64 {
    let suspects = saved.suspects.iter().map(|suspect| suspect.check);
    let crowds = saved.crowds.iter().map(|crowd| crowd.check);
    let partitions = saved.suspect_partitions.iter().map(|suspect| suspect.check);
    let findings = saved.findings.iter().map(|finding| finding.check);
    suspects.chain(crowds).chain(partitions).chain(findings).max().unwrap_or(0)
}

impl Engine {
    /// Goes on from what the journal holds.
    #[must_use]
    pub fn new(settings: Settings, saved: Saved, now: Moment) -> Self {
        let numbers = Numbers {
            finding: saved.last_finding,
            occurrence: saved.last_occurrence,
            hook: saved.last_hook,
            job: last_check(&saved),
        };
        let removed = Removed::new(&saved, &settings.pairings);
        let pairings =
            settings.pairings.into_iter().map(|spec| Pairing::new(spec, &saved, now)).collect();
        let criteria = Criteria::new(settings.abort, settings.hooks, &saved, now);
        let admission = Admission::new(settings.slots);
        let (until, held, outages) = (settings.until, Vec::new(), Outages::new(&saved));
        let draining = false;
        Self { pairings, held, criteria, admission, outages, until, draining, numbers, removed }
    }

    /// Takes one event, decides.
    pub fn apply(&mut self, now: Moment, event: Event) -> Decision {
        let mut decision = Decision::default();
        let mut step = Step {
            now,
            held: self.pairings.iter().map(Pairing::held).sum(),
            members: self.pairings.iter().map(Pairing::members).sum(),
            decision: &mut decision,
            numbers: &mut self.numbers,
            draining: self.draining,
            until: self.until,
            room: self.admission.none(self.pairings.len()),
        };
        match event {
            Event::Started => {
                let Removed { pairings, findings } = std::mem::take(&mut self.removed);
                step.decision.commit.removed.extend(pairings);
                for finding in findings {
                    step.supersede(finding);
                }
                for pairing in &mut self.pairings {
                    pairing.start(&mut step);
                }
                for held in &mut self.held {
                    held.start(&mut step);
                }
                self.criteria.start(&mut step);
            }
            Event::Split { pairing, direction, extents, unmapped } => {
                self.pairings[pairing].split(&mut step, direction, (extents, unmapped));
            }
            Event::Checked { check, began, outcome } => {
                if let Some(pairing) =
                    self.pairings.iter_mut().find(|pairing| pairing.checking(check))
                {
                    pairing.checked(&mut step, check, began, outcome);
                }
            }
            Event::Looked { look, result } => {
                if let Some(pairing) =
                    self.pairings.iter_mut().find(|pairing| pairing.looking(look))
                {
                    pairing.looked(&mut step, look, result);
                }
            }
            Event::HookEnded { job, success, detail } => {
                self.criteria.hook_ended(&mut step, job, success, detail);
            }
            Event::Store { store, outage, pairings } => {
                self.outages.stands(&mut step, &mut self.pairings, (&store, outage), &pairings);
            }
            Event::Remap(specs) => {
                for (pairing, spec) in specs {
                    self.pairings[pairing].remap(spec);
                }
            }
            Event::Joined(specs) => {
                held::join(&mut step, (&mut self.pairings, &mut self.held), specs);
            }
            Event::Commanded { id, command } => {
                let answer = obey((&mut self.criteria, &mut self.pairings), &mut step, command);
                step.decision.commit.answered.push((id, answer));
            }
            Event::Tick => {}
            Event::Drain => self.draining = true,
        }
        self.settle_down(decision, now)
    }

    /// What follows from any event: due jobs, criteria, the status, the next wake.
    fn settle_down(&mut self, mut decision: Decision, now: Moment) -> Decision {
        let mut step = Step {
            now,
            held: self.pairings.iter().map(Pairing::held).sum(),
            members: self.pairings.iter().map(Pairing::members).sum(),
            decision: &mut decision,
            numbers: &mut self.numbers,
            draining: self.draining,
            until: self.until,
            room: self.admission.none(self.pairings.len()),
        };
        for (index, pairing) in self.pairings.iter_mut().enumerate() {
            pairing.take_mapping(&mut step, index);
        }
        self.admission.admit(&mut step, &mut self.pairings);
        let mut changes = Vec::new();
        for pairing in &mut self.pairings {
            pairing.ignored_until(now);
            let of = pairing.take_changes().into_iter();
            changes.extend(of.map(|change| (pairing.spec.name.clone(), change)));
        }
        // What is held changes without telling how.
        if !step.decision.remapped.is_empty() || !self.held.is_empty() {
            self.criteria.count_again();
        }
        let held = || self.held.iter().flat_map(Held::findings);
        let findings = || self.pairings.iter().flat_map(Pairing::judged_findings).chain(held());
        self.criteria.evaluate(&mut step, &changes, findings);
        self.criteria.start_due(&mut step);
        for pairing in &mut self.pairings {
            pairing.publish(&mut step);
        }
        let drained = self.draining && !self.pairings.iter().any(Pairing::is_reading);
        let over = self.pairings.iter().all(Pairing::is_over) && self.criteria.is_quiet();
        decision.finished = match self.until {
            Until::OnePass => over || drained,
            Until::Stopped => drained && !self.criteria.is_running(),
        };
        decision
    }

    /// How far each pairing has come.
    #[must_use]
    pub fn statuses(&self) -> Vec<PairingStatus> {
        let running = self.pairings.iter().map(Pairing::status);
        running.chain(self.held.iter().map(Held::status)).cloned().collect()
    }

    /// The criteria.
    #[must_use]
    pub fn criteria(&self) -> Vec<CriterionState> {
        self.criteria.states()
    }

    /// The findings that stand.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.pairings.iter().flat_map(Pairing::findings)
    }
}
