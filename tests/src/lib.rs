//! What tests of the whole daemon need: private servers and the scenario language.

pub mod otlp;
