//! `cellsegd status`: what a daemon is doing, a line a session.

use std::{
    process::ExitCode,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result};
use clap::Args;
use serde_json::{Value, json};
use tokio::runtime::Builder;

use super::ConnectFlags;
use crate::proto::{self as pb, admin_client::AdminClient};

/// How long a daemon may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Show what a daemon is doing, a line a session
///
/// Exit code 0: it segments frames, though perhaps degraded; 1: it does not, or cannot be asked.
#[derive(Args, Debug)]
pub(in crate::cli) struct ShowStatus {
    /// For a program
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connect: ConnectFlags,
}

impl ShowStatus {
    pub(in crate::cli) fn run(self) -> Result<ExitCode> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let asked = runtime.block_on(async {
            let connection = self.connect.connect().await?;
            let asking = async {
                let reply = AdminClient::new(connection)
                    .status(pb::StatusRequest {})
                    .await;
                reply.map_err(|status| anyhow::anyhow!("{}", status.message()))
            };
            tokio::time::timeout(PATIENCE, asking)
                .await
                .context("the daemon does not answer")?
        });
        let status = asked?.into_inner();
        match self.json {
            true => println!("{}", serde_json::to_string_pretty(&to_json(&status))?),
            false => print!("{}", to_text(&status, SystemTime::now())),
        }
        Ok(match status.state() {
            pb::State::Serving | pb::State::Degraded => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        })
    }
}

fn to_text(status: &pb::StatusReply, now: SystemTime) -> String {
    let since = age(status.started_at.as_ref(), now).map_or("?".to_owned(), brief);
    let mut text = format!(
        "cellsegd {}: {}, for {since}\n",
        status.server_version,
        word(status.state())
    );
    for model in &status.models {
        text += &format!(
            "model {}: {}, {} of {} lanes, generation {}; {}; {}\n",
            model.model.as_ref().map_or("", |model| &model.name),
            word(model.state()),
            model.lanes_up,
            model.lanes,
            model.generation,
            model.backend,
            model.device,
        );
        if !model.why.is_empty() {
            text += &format!("  {}\n", model.why);
        }
    }
    if status.sessions.is_empty() {
        return text + "no session is open\n";
    }
    let head = [
        "SESSION",
        "PEER",
        "MODEL",
        "LAST",
        "FRAMES",
        "DROPPED",
        "FAILED",
        "P95",
        "CELLS",
        "CONFLUENCE",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(status.sessions.iter().map(row));
    text + "\n" + &table(&rows)
}

fn row(session: &pb::SessionStatus) -> [String; 10] {
    let counts = session.counts.unwrap_or_default();
    let last = session
        .since_last_frame
        .and_then(|since| since.try_into().ok());
    let name = match session.name.is_empty() {
        true => session.session.clone(),
        // A client's text may hold anything.
        false => session.name.escape_debug().to_string(),
    };
    let of_last = |text: String| match counts.segmented {
        0 => "-".to_owned(),
        _ => text,
    };
    [
        name,
        session.peer.clone(),
        session.model.clone(),
        last.map_or("-".to_owned(), brief),
        counts.frames.to_string(),
        counts.dropped.to_string(),
        counts.failed.to_string(),
        of_last(format!("{:.1} ms", f64::from(session.p95_us) / 1e3)),
        of_last(session.cells.to_string()),
        of_last(format!("{:.1} %", session.confluence * 100.0)),
    ]
}

/// Columns as wide as their widest; the first three are words, the others numbers.
fn table(rows: &[[String; 10]]) -> String {
    let width = |column: usize| {
        let widths = rows.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or(0)
    };
    let lines = rows.iter().map(|row| {
        let cells = row.iter().enumerate().map(|(column, cell)| {
            let width = width(column);
            match column < 3 {
                true => format!("{cell:<width$}"),
                false => format!("{cell:>width$}"),
            }
        });
        let cells: Vec<String> = cells.collect();
        format!("{}\n", cells.join("  "))
    });
    lines.collect()
}

/// In the contract's own words; 64-bit counts as numbers, for they are far from where that matters.
fn to_json(status: &pb::StatusReply) -> Value {
    let seconds = |duration: Option<prost_types::Duration>| {
        duration
            .and_then(|duration| Duration::try_from(duration).ok())
            .map(|duration| duration.as_secs_f64())
    };
    let time = |time: &Option<prost_types::Timestamp>| time.as_ref().map(ToString::to_string);
    let models = status.models.iter().map(|model| {
        let spec = model.model.clone().unwrap_or_default();
        json!({
            "name": spec.name,
            "version": spec.version,
            "sha256": spec.sha256,
            "precision": spec.precision,
            "backend": model.backend,
            "device": model.device,
            "state": word(model.state()),
            "why": model.why,
            "lanes": model.lanes,
            "lanes_up": model.lanes_up,
            "sessions_open": model.sessions,
            "generation": model.generation,
        })
    });
    let sessions = status.sessions.iter().map(|session| {
        let counts = session.counts.unwrap_or_default();
        json!({
            "session": session.session,
            "name": session.name,
            "peer": session.peer,
            "model": session.model,
            "opened_at": time(&session.opened_at),
            "last_frame_s": seconds(session.since_last_frame),
            "frames": counts.frames,
            "segmented": counts.segmented,
            "dropped": counts.dropped,
            "failed": counts.failed,
            "p50_us": session.p50_us,
            "p95_us": session.p95_us,
            "cells": session.cells,
            "confluence": session.confluence,
            "revision": session.revision,
            "priority": lower(session.priority().as_str_name(), "PRIORITY_"),
            "delivery": lower(session.delivery().as_str_name(), "DELIVERY_"),
        })
    });
    json!({
        "version": status.server_version,
        "started_at": time(&status.started_at),
        "state": word(status.state()),
        "models": models.collect::<Vec<_>>(),
        "sessions": sessions.collect::<Vec<_>>(),
    })
}

fn word(state: pb::State) -> String {
    lower(state.as_str_name(), "STATE_")
}

fn lower(name: &str, prefix: &str) -> String {
    name.trim_start_matches(prefix).to_lowercase()
}

fn age(since: Option<&prost_types::Timestamp>, now: SystemTime) -> Option<Duration> {
    let since = SystemTime::try_from(*since?).ok()?;
    now.duration_since(since).ok()
}

/// "0.4 s", "12 s", "5 min", "3 h", "2 d".
fn brief(time: Duration) -> String {
    match time.as_secs() {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        s @ 10..120 => format!("{s} s"),
        s @ 120..7200 => format!("{} min", s / 60),
        s @ 7200..172_800 => format!("{} h", s / 3600),
        s => format!("{} d", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> pb::StatusReply {
        let seconds = |seconds| prost_types::Duration { seconds, nanos: 0 };
        let model = pb::ModelStatus {
            model: Some(pb::Model {
                name: "cell".to_owned(),
                ..Default::default()
            }),
            backend: "CPU instead of cell.engine on a GPU".to_owned(),
            device: "cpu (2 threads)".to_owned(),
            state: pb::State::Degraded.into(),
            why: "run cellsegd engine rebuild".to_owned(),
            lanes: 2,
            lanes_up: 2,
            sessions: 1,
            generation: 3,
        };
        let session = pb::SessionStatus {
            name: "scope-2\u{1b}[2J".to_owned(),
            peer: "token scope-2".to_owned(),
            model: "cell".to_owned(),
            since_last_frame: Some(seconds(754)),
            counts: Some(pb::SessionClosed {
                frames: 120,
                segmented: 117,
                dropped: 2,
                failed: 1,
            }),
            p95_us: 25_400,
            cells: 31,
            confluence: 0.4218,
            ..Default::default()
        };
        pb::StatusReply {
            server_version: "0.1.0".to_owned(),
            started_at: Some(prost_types::Timestamp {
                seconds: 1_000_000,
                nanos: 0,
            }),
            state: pb::State::Degraded.into(),
            models: vec![model],
            sessions: vec![session],
        }
    }

    #[test]
    fn a_line_a_session_and_nothing_of_a_clients_reaches_the_terminal_raw() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + 3 * 3600);
        let text = to_text(&status(), now);
        let expected = "\
cellsegd 0.1.0: degraded, for 3 h
model cell: degraded, 2 of 2 lanes, generation 3; CPU instead of cell.engine on a GPU; cpu (2 threads)
  run cellsegd engine rebuild

SESSION           PEER           MODEL    LAST  FRAMES  DROPPED  FAILED      P95  CELLS  CONFLUENCE
scope-2\\u{1b}[2J  token scope-2  cell   12 min     120        2       1  25.4 ms     31      42.2 %
";
        assert_eq!(text, expected, "\n{text}");
    }

    #[test]
    fn a_program_finds_the_open_sessions_under_one_key() {
        let mut status = status();
        let told = to_json(&status);
        assert_eq!(told["sessions"][0]["last_frame_s"], 754.0);
        assert_eq!(told["models"][0]["state"], "degraded");
        status.sessions.clear();
        let text = to_json(&status).to_string();
        assert_eq!(text.matches("\"sessions\":[]").count(), 1, "{text}");
    }
}
