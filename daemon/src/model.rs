//! The words that every other module speaks.
//!
//! Owns the types that two or more stages exchange: columnar batches, canonical values, mapping
//! plans, partitions, outcomes, findings, events, moments. Refuses behaviour that belongs to one
//! stage, drivers, clocks and serialised formats (the journal, the plugin contract and the exported
//! telemetry have types of their own). Invariant: nothing here knows any other module.

mod batch;
pub mod calendar;
mod commit;
mod digest;
mod event;
mod fault;
mod finding;
mod mapping;
mod moment;
mod name;
mod outage;
mod outcome;
mod partition;
mod schema;
mod secret;
pub mod text;
mod unsettled;
mod value;

pub use batch::{Batch, Bitmap, Buffer, Column, ColumnBuilder, VarBytes};
pub use commit::{Answer, Command, Commit, PartitionEnd, PassState, Saved};
pub use digest::{Checksum, Digest, MappingIdentity};
pub use event::{CheckNote, CriterionState, Happening, HookJob, HookState, Note, Occurrence};
pub use fault::{Fault, FaultCode};
pub use finding::{
    Broken, Crowd, Finding, FindingStatus, Incident, NamedKey, PairingStatus, Part, RelationNames,
    Still, Subject, Suspect, SuspectPartition, SuspectRule,
};
pub use mapping::{
    EntityDef, FieldDef, InvariantDef, MappingPlan, RelationPlan, Role, Rule, RuleError, Scope,
    Severity, SidePlan, Standing,
};
pub use moment::Moment;
pub use name::{Leads, Side};
pub use outage::{Outage, StoreStates};
pub use outcome::{
    Asked, Cost, DriftKind, Facets, FailedRows, Key, Look, Member, Outcome, Placed, Reading, Ruled,
    Sighting, Span, SpanKind, State, StoreKey, Unread, Verdict, Version, Violation,
};
pub use partition::{Cut, Direction, Extent, Partition, Range};
pub use schema::{ColumnDef, Logical, RelationSchema};
pub use secret::{Secret, SecretError};
pub use unsettled::{Unjudged, Unsettled, Why};
pub use value::{CELL_VALUES_MAX, CborError, JsonError, Number, NumberError, Value, cbor, single};
