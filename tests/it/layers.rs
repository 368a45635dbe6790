//! No import upward: each module uses its own row and the rows above it, as `src/lib.rs` lists them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Names that are no row: protobuf types may be named where the wire is, nowhere else.
const PROTO: [&str; 2] = ["proto", "inference"];

#[test]
fn every_import_goes_to_its_own_row_or_a_row_above() {
    let rows = rows(&read(&src().join("lib.rs")));
    assert!(rows.len() > 5, "src/lib.rs lists no rows: {rows:?}");
    let mut faults = Vec::new();
    for file in rust_files(&src()) {
        let relative = file.strip_prefix(src()).expect("files of src lie in src");
        if let Some(module) = module_of(relative) {
            faults.extend(faults_of(&rows, &module, relative, &read(&file)));
        }
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn an_import_downward_and_a_protobuf_name_are_found() {
    let rows = rows(
        "// Row 0: what things are.\npub mod frame;\n\n// Row 4: the doors.\npub mod server;\n",
    );
    let check =
        |module: &str, file: &str, source: &str| faults_of(&rows, module, Path::new(file), source);
    for (module, file, source, n_faults) in [
        ("server", "server/grpc.rs", "use crate::frame::Frame;", 0),
        ("frame", "frame/mod.rs", "use crate::server::Server;", 1),
        ("frame", "frame/mod.rs", "// crate::server is not meant", 0),
        (
            "frame",
            "frame/mod.rs",
            "use crate::{frame::{a, server}, server};",
            1,
        ),
        ("frame", "frame/mod.rs", "fn f() { crate::nowhere::g() }", 1),
        ("frame", "frame/mod.rs", "use crate::proto::Frame;", 1),
        ("server", "server/convert.rs", "use crate::proto;", 0),
    ] {
        let faults = check(module, file, source);
        assert_eq!(faults.len(), n_faults, "{file}: {source}: {faults:?}");
    }
}

/// Row of each module, from lib.rs: `// Row N: ...`, then `pub mod NAME;` lines.
fn rows(lib: &str) -> BTreeMap<String, u32> {
    let mut rows = BTreeMap::new();
    let mut row = None;
    for line in lib.lines() {
        if let Some(rest) = line.strip_prefix("// Row ") {
            row = rest.split(':').next().and_then(|n| n.parse::<u32>().ok());
        } else if let (Some(row), Some(name)) = (
            row,
            line.strip_prefix("pub mod ")
                .and_then(|rest| rest.strip_suffix(';')),
        ) {
            rows.insert(name.to_owned(), row);
        }
    }
    rows
}

/// `frame/format.rs` and `telemetry.rs` belong to `frame` and `telemetry`; lib.rs and main.rs to nobody.
fn module_of(relative: &Path) -> Option<String> {
    let first = relative.components().next()?;
    let name = Path::new(first.as_os_str()).file_stem()?.to_str()?;
    (name != "lib" && name != "main").then(|| name.to_owned())
}

fn faults_of(rows: &BTreeMap<String, u32>, module: &str, file: &Path, source: &str) -> Vec<String> {
    let file_name = file.display();
    let Some(&own) = rows.get(module) else {
        return vec![format!(
            "{file_name}: `{module}` is in no row of src/lib.rs"
        )];
    };
    let fault = |used: &String| match rows.get(used) {
        Some(&row) if row <= own => None,
        Some(&row) => Some(format!(
            "{file_name}: row {own} uses crate::{used} of row {row}"
        )),
        None if PROTO.contains(&used.as_str()) && may_name_proto(file) => None,
        None if PROTO.contains(&used.as_str()) => Some(format!(
            "{file_name}: names crate::{used}; only server/ and cli/client* speak protobuf"
        )),
        None => Some(format!(
            "{file_name}: crate::{used} is in no row of src/lib.rs"
        )),
    };
    used_modules(source).iter().filter_map(fault).collect()
}

fn may_name_proto(file: &Path) -> bool {
    let path = file.to_string_lossy();
    path.starts_with("server/") || path.starts_with("cli/client") || path == "server.rs"
}

/// First names after `crate::`, of plain paths and of groups (`crate::{a::b, c}`).
fn used_modules(source: &str) -> BTreeSet<String> {
    let code: String = source
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n");
    code.match_indices("crate::")
        // `pub(in crate::x)` counts like any other; `$crate::` and `other_crate::` do not.
        .filter(|&(at, _)| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
        .flat_map(|(at, prefix)| first_names(&code[at + prefix.len()..]))
        .collect()
}

fn first_names(rest: &str) -> Vec<String> {
    let name = |text: &str| {
        let text = text.trim_start();
        let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
        text[..end.unwrap_or(text.len())].to_owned()
    };
    let Some(group) = rest.strip_prefix('{') else {
        return vec![name(rest)];
    };
    let mut names = vec![name(group)];
    let mut depth = 0;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(name(&group[at + 1..])),
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Every `.rs` file under `dir`, in a steady order.
pub(crate) fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let entries = fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    for entry in entries {
        let path = entry.expect("a directory's entries can be read").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}
