//! systemd/etc/cellsegd/cellsegd.toml, which the package installs, names every key there is, and its comments tell the truth.

use std::{collections::BTreeSet, fs, path::Path};

use cellsegd::config::Settings;
use toml::{Table, Value};

const FILE: &str = "systemd/etc/cellsegd/cellsegd.toml";

/// What the package really sets.
const SET: [&str; 2] = ["http", "models_dir"];

#[test]
fn the_package_sets_what_is_listed_here_and_nothing_else() {
    let set = keys(&packaged().parse().unwrap());
    assert_eq!(set, SET.map(str::to_owned).into());
}

#[test]
fn what_is_in_comments_are_the_defaults() {
    let text: Vec<String> = packaged().lines().map(uncommented).collect();
    let written: Table = text.join("\n").parse().unwrap();
    let default = Table::try_from(Settings::default()).unwrap();
    let examples = examples();
    let faults: Vec<String> = keys(&written)
        .iter()
        .filter(|key| !SET.contains(&&***key) && !examples.contains(*key))
        .filter(|key| find(&written, key) != find(&default, key))
        .map(|key| {
            let [written, default] = [&written, &default].map(|table| find(table, key));
            format!("{key} = {written:?}, and the default is {default:?}")
        })
        .collect();
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
    // Examples are of keys that have no default.
    let defaulted: Vec<_> = examples.intersection(&keys(&default)).cloned().collect();
    assert!(defaulted.is_empty(), "{defaulted:?}");
}

/// serde names every key that it knows where it meets one that it does not.
#[test]
fn every_key_is_there() {
    let text: Vec<String> = packaged().lines().map(uncommented).collect();
    let written: Table = text.join("\n").parse().unwrap();
    let mut tables = vec![String::new()];
    tables.extend(tables_of(&written));
    let mut missing = Vec::new();
    for table in tables {
        let header = match table.is_empty() {
            true => String::new(),
            false => format!("[{table}]\n"),
        };
        let refusal = toml::from_str::<Settings>(&format!("{header}no_such_key = 1"));
        let said = refusal.unwrap_err().message().to_owned();
        let known: Vec<&str> = said.split('`').skip(3).step_by(2).collect();
        assert!(!known.is_empty(), "{table}: {said}");
        for key in known {
            let key = [table.as_str(), key].join(".");
            let key = key.trim_start_matches('.');
            if find(&written, key).is_none() {
                missing.push(key.to_owned());
            }
        }
    }
    assert!(missing.is_empty(), "{FILE} lacks {missing:?}");
}

fn packaged() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE)).unwrap()
}

/// A comment without a space is a key.
fn uncommented(line: &str) -> String {
    let is_key = line.starts_with('#') && !line.starts_with("# ") && line != "#";
    match is_key {
        true => line[1..].to_owned(),
        false => line.to_owned(),
    }
}

/// Keys whose comment ends with the words that say so.
fn examples() -> BTreeSet<String> {
    let mut table = String::new();
    let mut found = BTreeSet::new();
    let text = packaged();
    for (comment, line) in text.lines().zip(text.lines().skip(1)) {
        if let Some(header) = line.strip_prefix('[') {
            table = header.trim_end_matches(']').to_owned();
        }
        if let (true, Some((key, _))) = (
            comment.ends_with("An example:"),
            uncommented(line).split_once(" = "),
        ) {
            found.insert(format!("{table}.{key}").trim_start_matches('.').to_owned());
        }
    }
    found
}

/// Names of values, with those of their tables.
fn keys(table: &Table) -> BTreeSet<String> {
    let nested = table.iter().flat_map(|(name, value)| match value {
        Value::Table(table) => keys(table)
            .iter()
            .map(|key| format!("{name}.{key}"))
            .collect(),
        _ => vec![name.clone()],
    });
    nested.collect()
}

fn tables_of(table: &Table) -> Vec<String> {
    let nested = table.iter().flat_map(|(name, value)| match value {
        Value::Table(table) => {
            let below = tables_of(table);
            let below = below.iter().map(|table| format!("{name}.{table}"));
            [vec![name.clone()], below.collect()].concat()
        }
        _ => Vec::new(),
    });
    nested.collect()
}

fn find<'a>(table: &'a Table, key: &str) -> Option<&'a Value> {
    match key.split_once('.') {
        Some((first, rest)) => find(table.get(first)?.as_table()?, rest),
        None => table.get(key),
    }
}
