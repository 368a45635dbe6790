//! The manual and the shells' completions, made of the command line itself: `pages FOLDER DATE` writes them into FOLDER/man,
//! FOLDER/bash, FOLDER/zsh and FOLDER/fish. The date, YYYY-MM-DD, is what the pages' foot says: the same source and the same
//! date give the same bytes.

use std::{env, fs, path::Path};

use anyhow::{Result, bail};
use clap::Command;
use clap_complete::{Shell, generate_to};
use clap_mangen::Man;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [folder, date] = &arguments[..] else {
        bail!("usage: pages FOLDER YYYY-MM-DD");
    };
    let folder = Path::new(folder);
    let command = cellsegd::cli::command();
    manual(&command, date, &folder.join("man"))?;
    for (shell, name) in [
        (Shell::Bash, "bash"),
        (Shell::Zsh, "zsh"),
        (Shell::Fish, "fish"),
    ] {
        let folder = folder.join(name);
        fs::create_dir_all(&folder)?;
        generate_to(shell, &mut command.clone(), "cellsegd", folder)?;
    }
    Ok(())
}

/// One page a command: cellsegd(1), cellsegd-serve(1), cellsegd-engine-build(1).
fn manual(command: &Command, date: &str, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    // clap's own `help` would get a page for every command once more.
    let mut command = command.clone().disable_help_subcommand(true);
    command.build();
    page(&command, date, folder)
}

fn page(command: &Command, date: &str, folder: &Path) -> Result<()> {
    let name = command.get_display_name().unwrap_or(command.get_name());
    let manual = Man::new(command.clone())
        .title(name.to_uppercase())
        .date(date)
        .source(concat!("cellsegd ", env!("CARGO_PKG_VERSION")))
        .manual("cellsegd");
    let mut text = Vec::new();
    manual.render(&mut text)?;
    // Breaks around an empty line are none: mandoc says so of every list of values.
    let text = String::from_utf8(text)?.replace(".br\n\n.br\n", ".br\n");
    fs::write(folder.join(format!("{name}.1")), text)?;
    command
        .get_subcommands()
        .filter(|inner| !inner.is_hide_set())
        .try_for_each(|inner| page(inner, date, folder))
}
