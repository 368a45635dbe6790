//! The program: subcommands, words for people, exit codes. The only place with `anyhow`.
//! A command's answer goes to stdout, its complaints to stderr.

/// As the standard library's, but for a reader that is gone (`| head`), which is no reason to panic.
macro_rules! print {
    ($($text:tt)*) => {{
        let _ = std::io::Write::write_fmt(&mut std::io::stdout(), format_args!($($text)*));
    }};
}

/// See `print`.
macro_rules! println {
    () => { print!("\n") };
    ($($text:tt)*) => { print!("{}\n", format_args!($($text)*)) };
}

/// As the standard library's, but for a stderr that cannot be written to (a full disk): the exit code still says it.
macro_rules! eprintln {
    ($($text:tt)*) => {{
        let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{}\n", format_args!($($text)*)));
    }};
}

mod bench;
mod choices;
mod client;
mod daemon;
mod demo;
mod doctor;
mod engine;
mod eval;
mod export;
mod inputs;
mod lane;
mod latency;
mod models;
mod output;
mod pair;
mod progress;
mod record;
mod reload;
mod segment;
mod segmenter;
mod serve;
mod speed;
mod synthetic;
mod worst_case;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::{
    backend::{LaneError, cpu::BackendError, cuda::GpuError},
    config::SettingsError,
    model::ModelError,
    params::ParamError,
    systemd::HandedError,
};

/// `EX_TEMPFAIL`: the device broke; started again, all may be well.
const EXIT_DEVICE_LOST: u8 = 75;
/// `EX_CONFIG`: starting again does not help.
const EXIT_SETTINGS: u8 = 78;

/// Live cell segmentation beside the microscope: camera frames in, each cell's mask out.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 done, 1 something failed, 2 wrong usage, 75 device lost, 78 settings or a model that cannot be used.\n\
                  Every setting is also read from the environment: CELLSEGD_LANES, CELLSEGD_ENGINE__KIND, ..."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    Status(client::ShowStatus),
    Segment(Box<segment::Segment>),
    Demo(demo::Demo),
    Bench(bench::Bench),
    Models(models::Models),
    Reload(reload::Reload),
    Doctor(doctor::Doctor),
    Pair(pair::Pair),
    Engine(engine::Engine),
    Eval(eval::Eval),
    Export(export::Export),
}

/// What was asked for cannot be done as asked: exit code 2, as for flags that do not exist.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct UsageError(String);

/// The command line as clap knows it: man pages and completions are made of it.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Parses the command line and does what it says.
pub fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Serve(serve) => serve.run(),
        Command::Status(status) => status.run(),
        Command::Segment(segment) => segment.run(),
        Command::Demo(demo) => demo.run(),
        Command::Bench(bench) => bench.run(),
        Command::Models(models) => models.run(),
        Command::Reload(reload) => reload.run(),
        Command::Engine(engine) => engine.run(),
        Command::Eval(eval) => eval.run(),
        Command::Export(export) => export.run(),
        Command::Doctor(doctor) => doctor.run(),
        Command::Pair(pair) => pair.run(),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        exit_code(&error)
    })
}

fn exit_code(error: &anyhow::Error) -> ExitCode {
    if error.is::<UsageError>() || error.is::<ParamError>() {
        return ExitCode::from(2);
    }
    if let Some(LaneError::Device(_)) = error.downcast_ref() {
        return ExitCode::from(EXIT_DEVICE_LOST);
    }
    let settings = error.is::<SettingsError>()
        || error.is::<ModelError>()
        || error.is::<BackendError>()
        || error.is::<GpuError>()
        || error.is::<HandedError>();
    match settings {
        true => ExitCode::from(EXIT_SETTINGS),
        false => ExitCode::FAILURE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }
}
