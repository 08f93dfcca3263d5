//! The users of the demo, and how either store shapes them.
//!
//! Owns making users up, the columns of a row and the attributes of an item. Refuses stores and
//! faults. Invariant: a row and an item of the same user are the same entity to the `users` plugin.

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value as Json, json};

use crate::model::{Key, Moment, Side, StoreKey, Value};
use crate::report::form::rfc3339;

/// The tenants, from the largest to the smallest.
pub(super) const TENANTS: [&str; 20] = [
    "acme", "borealis", "cobalt", "dovetail", "ember", "fjord", "granite", "harbour", "indigo",
    "juniper", "kestrel", "lantern", "meridian", "nimbus", "orchard", "pumice", "quartz", "rowan",
    "saffron", "tundra",
];
/// The tenant whose items all get a wrong default; nobody else writes to it.
pub(super) const MARKED: usize = TENANTS.len() - 1;

const STATUSES: [&str; 3] = ["active", "suspended", "closed"];
const NAMES: [&str; 12] = [
    "Ada",
    "Björn",
    "Chidi",
    "Daria",
    "Emre",
    "Fatima",
    "Grete",
    "Hiro",
    "Inês",
    "Jonas",
    "Kateřina",
    "Lwazi",
];
const FAMILIES: [&str; 10] =
    ["Abara", "Berg", "Costa", "Dvořák", "Eriksen", "Fontaine", "Gupta", "Haas", "Ito", "Joubert"];
/// 2020-01-01T00:00:00Z, in microseconds.
const YEAR_2020: i64 = 1_577_836_800_000_000;
/// Three years, in microseconds.
const THREE_YEARS: i64 = 94_608_000_000_000;

/// A user.
#[derive(Clone, Debug)]
pub(super) struct User {
    pub(super) id: i64,
    pub(super) tenant: usize,
    pub(super) email: String,
    pub(super) name: String,
    pub(super) status: usize,
    pub(super) cents: i64,
    pub(super) born: Option<String>,
    pub(super) created: Moment,
    pub(super) updated: Moment,
    pub(super) migrated: bool,
}

impl User {
    /// Makes a user up. One of ten is not migrated yet.
    pub(super) fn invent(id: i64, rng: &mut ChaCha8Rng) -> Self {
        let first = NAMES[rng.random_range(0..NAMES.len())];
        let family = FAMILIES[rng.random_range(0..FAMILIES.len())];
        let born = rng.random_bool(0.8).then(|| {
            let (year, month, day) =
                (rng.random_range(1940..2006), rng.random_range(1..=12), rng.random_range(1..=28));
            format!("{year}-{month:02}-{day:02}")
        });
        let created = YEAR_2020 + rng.random_range(0..THREE_YEARS);
        Self {
            id,
            tenant: tenant(rng),
            email: format!("user{id}@example.org"),
            name: format!("{first} {family}"),
            status: rng.random_range(0..STATUSES.len()),
            cents: rng.random_range(0..5_000_000),
            born,
            created: Moment(created),
            updated: Moment(created + rng.random_range(0..THREE_YEARS)),
            migrated: rng.random_bool(0.9),
        }
    }

    /// Changes something that both stores hold.
    pub(super) fn change(&mut self, now: Moment, rng: &mut ChaCha8Rng) {
        match rng.random_range(0..10) {
            0 => self.status = (self.status + 1) % STATUSES.len(),
            1 => self.email = format!("user{}+{}@example.org", self.id, rng.random_range(1..1_000)),
            _ => self.cents = rng.random_range(0..5_000_000),
        }
        self.updated = now;
    }

    pub(super) fn status(&self) -> &'static str {
        STATUSES[self.status]
    }

    /// The balance as a decimal.
    pub(super) fn balance(&self) -> String {
        let sign = if self.cents < 0 { "-" } else { "" };
        let cents = self.cents.unsigned_abs();
        format!("{sign}{}.{:02}", cents / 100, cents % 100)
    }

    pub(super) fn pk(&self) -> String {
        format!("TENANT#{}", TENANTS[self.tenant])
    }

    pub(super) fn sk(&self) -> String {
        format!("USER#{}", self.id)
    }

    /// The item of this user, in the JSON of the DynamoDB API.
    pub(super) fn item(&self) -> Json {
        let mut profile = json!({ "mail": { "S": self.email }, "displayName": { "S": self.name } });
        if let Some(born) = &self.born {
            profile["born"] = json!({ "S": born });
        }
        json!({
            "pk": { "S": self.pk() },
            "sk": { "S": self.sk() },
            "profile": { "M": profile },
            "state": { "N": (self.status + 1).to_string() },
            "balanceCents": { "N": self.cents.to_string() },
            "createdAt": { "S": rfc3339(self.created) },
            "ver": { "N": self.updated.0.to_string() },
        })
    }

    /// The key of the entity that the plugin makes of this user.
    pub(super) fn key(&self) -> Key {
        key(self.id)
    }
}

/// The key of the entity with this id.
pub(super) fn key(id: i64) -> Key {
    Key(Value::List(vec![Value::Number(id.into())]).to_cbor().into())
}

/// The key that stands for an item of which the plugin can make no entity.
pub(super) fn key_of_item(pk: &str, sk: &str) -> Key {
    let at = vec![Value::Text(pk.to_owned()), Value::Text(sk.to_owned())];
    Key::of_row(Side::Target, &StoreKey(Value::List(at).to_cbor().into()))
}

/// A tenant: the second has half as many users as the first, the third a third.
fn tenant(rng: &mut ChaCha8Rng) -> usize {
    let weight = |rank: usize| 10_000 / (rank + 1);
    let mut lot = rng.random_range(0..(0..TENANTS.len()).map(weight).sum());
    (0..TENANTS.len())
        .find(|rank| match lot.checked_sub(weight(*rank)) {
            Some(left) => {
                lot = left;
                false
            }
            None => true,
        })
        .unwrap_or(MARKED)
}
