//! That the daemon names no operation with which it could change a table.

use std::fs;
use std::path::{Path, PathBuf};

/// Operations of the API that change something, in the SDK's spelling.
const WRITES: &[&str] = &[
    "put_item",
    "update_item",
    "delete_item",
    "batch_write_item",
    "transact_write_items",
    // These can carry any statement.
    "execute_statement",
    "batch_execute_statement",
    "execute_transaction",
    "create_table",
    "update_table",
    "delete_table",
    "create_global_table",
    "update_global_table",
    "import_table",
    "restore_table",
    "create_backup",
    "delete_backup",
    "update_continuous_backups",
    "update_contributor_insights",
    "update_time_to_live",
    "tag_resource",
    "untag_resource",
    "put_resource_policy",
    "delete_resource_policy",
    "kinesis_streaming_destination",
    "export_table_to_point_in_time",
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else {
            found.push(path);
        }
    }
}

#[test]
fn no_write_operation_is_named_outside_the_demo() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../daemon/src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let demo = root.join("cli/demo").to_string_lossy().into_owned();
    files.retain(|path| !path.to_string_lossy().starts_with(&demo));
    assert!(files.iter().any(|path| path.ends_with("store/dynamodb.rs")), "looked in {root:?}");
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        // One look for the SDK's methods and for the names of its types.
        let plain = text.to_lowercase().replace('_', "");
        for write in WRITES {
            assert!(!plain.contains(&write.replace('_', "")), "{} names {write}", path.display());
        }
    }
}
