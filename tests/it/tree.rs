//! What the repository promises about itself: its size, its files' length, its contract.

use std::{collections::BTreeSet, env, fs, path::Path, process::Command};

use prost::Message;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FileDescriptorSet,
    field_descriptor_proto::{Label, Type},
};

use crate::layers::rust_files;

const PACKAGE: &str = "cellseg.v1";
const COMMITTED: &str = "proto/cellseg/v1/segmentation.binpb";
const MIB: u64 = 1 << 20;

#[test]
fn tracked_files_stay_under_20_mib() {
    let listed = Command::new("git")
        .args(["ls-files", "-z"])
        .current_dir(root())
        .output();
    let Ok(listed) = listed.as_ref().map_err(drop).and_then(|listed| {
        let ok = listed.status.success() && !listed.stdout.is_empty();
        ok.then_some(listed).ok_or(())
    }) else {
        return crate::daemon::skipped("not a git checkout");
    };
    let total: u64 = listed
        .stdout
        .split(|&byte| byte == 0)
        .filter_map(|name| std::str::from_utf8(name).ok())
        .filter_map(|name| fs::metadata(root().join(name)).ok())
        .filter(|metadata| metadata.is_file())
        .map(|metadata| metadata.len())
        .sum();
    assert!(
        total <= 20 * MIB,
        "tracked files have {} MiB; the repository promises at most 20",
        total / MIB
    );
}

#[test]
fn no_source_file_is_over_500_lines() {
    let long: Vec<String> = rust_files(&root().join("src"))
        .iter()
        .map(|file| {
            let text = fs::read_to_string(file).expect("a source file can be read");
            (file.display(), text.lines().count())
        })
        .filter(|&(_, lines)| lines > 500)
        .map(|(file, lines)| format!("{file}: {lines} lines; split it by job"))
        .collect();
    assert!(long.is_empty(), "\n{}\n", long.join("\n"));
}

/// The committed descriptor is what clients out there were generated from. A line that goes or changes breaks them.
#[test]
fn the_contract_equals_the_committed_descriptor() {
    let built = contract(cellsegd::proto::DESCRIPTORS);
    let path = root().join(COMMITTED);
    if env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&path, built.encode_to_vec()).expect("the descriptor can be written");
        return;
    }
    let committed = fs::read(&path).unwrap_or_default();
    let differences = differences(&contract(&committed), &built);
    assert!(
        differences.is_empty(),
        "the contract is not {COMMITTED}:\n{}\nlines with - break clients in use; \
         where the change is meant, run again with UPDATE_EXPECT=1",
        differences.join("\n")
    );
}

#[test]
fn a_changed_field_is_named() {
    let before = contract(cellsegd::proto::DESCRIPTORS);
    let mut after = before.clone();
    let message = &mut after.file[0].message_type[0];
    let (message_name, field_name) = (
        message.name().to_owned(),
        message.field[0].name().to_owned(),
    );
    message.field[0].number = Some(99);
    let differences = differences(&before, &after);
    assert_eq!(differences.len(), 2, "{differences:?}");
    for line in differences {
        assert!(
            line.contains(&format!("{PACKAGE}.{message_name}.{field_name}")),
            "{line}"
        );
    }
}

/// The files of our package, without comments and positions.
fn contract(descriptors: &[u8]) -> FileDescriptorSet {
    let mut set = FileDescriptorSet::decode(descriptors).expect("a FileDescriptorSet");
    set.file.retain(|file| file.package() == PACKAGE);
    for file in &mut set.file {
        file.source_code_info = None;
    }
    set
}

/// `- was` and `+ is`, one line for each field, enum value and method.
fn differences(before: &FileDescriptorSet, after: &FileDescriptorSet) -> Vec<String> {
    let (before, after) = (lines(before), lines(after));
    let gone = before.difference(&after).map(|line| format!("- {line}"));
    let new = after.difference(&before).map(|line| format!("+ {line}"));
    let mut all: Vec<String> = gone.chain(new).collect();
    all.sort_by(|a, b| a[2..].cmp(&b[2..]));
    all
}

fn lines(set: &FileDescriptorSet) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for file in &set.file {
        let package = file.package();
        for message in &file.message_type {
            message_lines(package, message, &mut lines);
        }
        for each in &file.enum_type {
            enum_lines(package, each, &mut lines);
        }
        for service in &file.service {
            for method in &service.method {
                lines.insert(format!(
                    "rpc {package}.{}.{}({}{}) returns ({}{})",
                    service.name(),
                    method.name(),
                    stream(method.client_streaming()),
                    method.input_type(),
                    stream(method.server_streaming()),
                    method.output_type(),
                ));
            }
        }
    }
    lines
}

fn message_lines(scope: &str, message: &DescriptorProto, lines: &mut BTreeSet<String>) {
    let name = format!("{scope}.{}", message.name());
    lines.insert(format!("message {name}"));
    for field in &message.field {
        let kind = match field.r#type() {
            Type::Message | Type::Enum => field.type_name().to_owned(),
            scalar => format!("{scalar:?}").to_lowercase(),
        };
        let label = match field.label() {
            Label::Repeated => "repeated ",
            _ if field.proto3_optional() => "optional ",
            _ => "",
        };
        let oneof = field
            .oneof_index
            .filter(|_| !field.proto3_optional())
            .map(|index| format!(" in {}", message.oneof_decl[index as usize].name()))
            .unwrap_or_default();
        lines.insert(format!(
            "{name}.{} = {}: {label}{kind}{oneof}",
            field.name(),
            field.number(),
        ));
    }
    for nested in &message.nested_type {
        message_lines(&name, nested, lines);
    }
    for nested in &message.enum_type {
        enum_lines(&name, nested, lines);
    }
}

fn enum_lines(scope: &str, each: &EnumDescriptorProto, lines: &mut BTreeSet<String>) {
    for value in &each.value {
        lines.insert(format!(
            "enum {scope}.{}.{} = {}",
            each.name(),
            value.name(),
            value.number()
        ));
    }
}

fn stream(streaming: bool) -> &'static str {
    if streaming { "stream " } else { "" }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
