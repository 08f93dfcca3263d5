//! Configurations of `driftd`.
//!
//! Owns the text of each case's file. Refuses rates: nothing slows the reading down. Invariant: all
//! that is not named here is as in the defaults that users get.

use std::path::Path;

use driftd_tests::mariadb::{PASSWORD, USER};

use crate::{Case, Servers};

const MAPPING: &str = r#"
[pairings.users]
leader = "source"
source = { store = "source", relation = "users", key = { id = "{id}" } }
target = { store = "target", relation = "users_copy", key = { id = "{id}" } }
[pairings.users.mapping]
entity = "user"
[pairings.users.mapping.fields]
id = { role = "key" }
tenant = { role = "label" }
email = {}
name = {}
status = {}
balance = {}
birthday = {}
created_at = {}
updated_at = { role = "version" }
migrated = {}
"#;

const PLUGIN: &str = r#"
[plugins.users]
path = "users.wasm"
[pairings.users]
leader = "source"
plugin = "users"
source = { store = "source", relation = "users", key = { id = "{id}" } }
target = { store = "target", relation = "users_items", key = { id = "{id}" } }
"#;

const LOOKUP: &str = r#"
[plugins.users]
path = "users.wasm"
[pairings.users]
leader = "source"
plugin = "users"
source = { store = "source", relation = "users", key = { id = "{id}" } }
target = { store = "target", relation = "shop", key = { pk = "TENANT#{tenant}", sk = "USER#{id}" } }
"#;

/// Writes the configuration of a case and what it names.
pub(crate) fn write(directory: &Path, case: Case, servers: &Servers) {
    std::fs::write(directory.join("password"), PASSWORD).unwrap();
    std::fs::write(directory.join("users.wasm"), driftd::plugin::USERS_WASM).unwrap();
    let port = servers.mariadb.port;
    let mysql = |name: &str| {
        format!(
            "[stores.{name}]\nkind = \"mysql\"\nhost = \"127.0.0.1\"\nport = {port}\n\
             user = \"{USER}\"\npassword = {{ file = \"password\" }}\ndatabase = \"test\"\n\
             tls = \"disabled\"\n"
        )
    };
    let target = match case {
        Case::Mapping | Case::Plugin => mysql("target"),
        Case::Lookup => format!(
            "[stores.target]\nkind = \"dynamodb\"\nregion = \"us-east-1\"\nendpoint = \"{}\"\n",
            servers.endpoint()
        ),
    };
    let pairing = match case {
        Case::Mapping => MAPPING,
        Case::Plugin => PLUGIN,
        Case::Lookup => LOOKUP,
    };
    let text = format!("{}{target}{pairing}", mysql("source"));
    std::fs::write(directory.join("driftd.toml"), text).unwrap();
}
