//! The faults that the demo plants.
//!
//! Owns what each fault does to the stores, and what driftd must call it. Refuses to tell driftd.
//! Invariant: each planted fault is one entity with one kind of drift, and nobody writes there again.

use serde_json::{Value as Json, json};

use super::DemoError;
use super::people::{User, key, key_of_item};
use super::verdict::Planted;
use super::writer::{Writer, marked_tenant};
use crate::model::{DriftKind, Key};

/// What can be done to the stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    LostWrite,
    Orphan,
    CorruptField,
    WrongDefault,
    StaleItem,
    StrayCopy,
    BrokenRule,
    Garbage,
}

impl Fault {
    /// What driftd must call it.
    pub(super) const fn kind(self) -> DriftKind {
        match self {
            Self::LostWrite => DriftKind::Missing,
            Self::Orphan => DriftKind::Unexpected,
            Self::CorruptField | Self::WrongDefault => DriftKind::Mismatch,
            Self::StaleItem => DriftKind::Stale,
            Self::StrayCopy => DriftKind::Duplicate,
            Self::BrokenRule => DriftKind::Violation,
            Self::Garbage => DriftKind::Unmappable,
        }
    }

    /// What was done, in words.
    pub(super) fn words(self) -> String {
        match self {
            Self::LostWrite => "new users, never written to the target".to_owned(),
            Self::Orphan => "users deleted in the source only".to_owned(),
            Self::CorruptField => "one field altered in the target".to_owned(),
            Self::WrongDefault => {
                format!("a wrong default in every item of tenant `{}`", marked_tenant())
            }
            Self::StaleItem => "an update that never reached the target".to_owned(),
            Self::StrayCopy => "a second item for the same user".to_owned(),
            Self::BrokenRule => "a negative balance on both sides".to_owned(),
            Self::Garbage => "an item that is no user".to_owned(),
        }
    }
}

/// Plants all of them.
pub(super) fn plant(writer: &mut Writer) -> Result<Vec<Planted>, DemoError> {
    let mut planted = Vec::new();
    lose_writes(writer, &mut planted)?;
    for (fault, count, commit) in [
        (Fault::Orphan, 4, orphan as Commit),
        (Fault::CorruptField, 6, corrupt),
        (Fault::StaleItem, 5, stale),
        (Fault::StrayCopy, 3, copy),
        (Fault::BrokenRule, 3, break_rule),
    ] {
        for number in 0..count {
            let Some(user) = victim(writer) else { continue };
            commit(writer, user.clone(), number)?;
            planted.push(Planted::new(fault, user.key()));
        }
    }
    default_wrongly(writer, &mut planted)?;
    planted.push(Planted::new(Fault::Garbage, litter(writer)?));
    Ok(planted)
}

type Commit = fn(&Writer, User, usize) -> Result<(), DemoError>;

/// A user whom the writer leaves alone.
fn victim(writer: &mut Writer) -> Option<User> {
    let id = writer.reserved.pop()?;
    writer.users.remove(&id)
}

fn lose_writes(writer: &mut Writer, planted: &mut Vec<Planted>) -> Result<(), DemoError> {
    for _ in 0..5 {
        let now = writer.clock.now();
        let user = writer.newcomer(now);
        writer.source.put(&user)?;
        planted.push(Planted::new(Fault::LostWrite, user.key()));
    }
    Ok(())
}

fn orphan(writer: &Writer, user: User, _: usize) -> Result<(), DemoError> {
    Ok(writer.source.delete(user.id)?)
}

fn corrupt(writer: &Writer, user: User, number: usize) -> Result<(), DemoError> {
    let corrupted = match number % 3 {
        0 => User { cents: user.cents + 1, ..user },
        // A difference that no eye sees.
        1 => User { name: format!("{} ", user.name), ..user },
        _ => User { email: user.email.to_uppercase(), ..user },
    };
    writer.target.put(&corrupted.item())
}

fn stale(writer: &Writer, user: User, _: usize) -> Result<(), DemoError> {
    let updated = writer.clock.now();
    Ok(writer.source.put(&User { cents: user.cents + 100, updated, ..user })?)
}

fn copy(writer: &Writer, user: User, _: usize) -> Result<(), DemoError> {
    let mut item = user.item();
    item["sk"] = json!({ "S": format!("USER#{:08}", user.id) });
    writer.target.put(&item)
}

fn break_rule(writer: &Writer, user: User, _: usize) -> Result<(), DemoError> {
    let updated = writer.clock.now();
    let user = User { cents: -1 - user.cents, updated, ..user };
    writer.source.put(&user)?;
    writer.target.put(&user.item())
}

fn default_wrongly(writer: &Writer, planted: &mut Vec<Planted>) -> Result<(), DemoError> {
    for id in &writer.marked {
        let Some(user) = writer.users.get(id) else { continue };
        let mut item = user.item();
        item["profile"]["M"]["born"] = json!({ "S": "1970-01-01" });
        writer.target.put(&item)?;
        planted.push(Planted::new(Fault::WrongDefault, key(*id)));
    }
    Ok(())
}

fn litter(writer: &Writer) -> Result<Key, DemoError> {
    let user = User { id: 0, ..User::invent(0, &mut writer.rng.clone()) };
    let (mut item, pk, sk): (Json, _, _) = (user.item(), user.pk(), "USER#undefined");
    item["sk"] = json!({ "S": sk });
    writer.target.put(&item)?;
    Ok(key_of_item(&pk, sk))
}
