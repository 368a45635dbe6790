//! The report as a person reads it.

use std::fmt::Write as _;

use super::report::{ModelReport, Named, Report, SweepReport};
use crate::eval::Scores;

/// Lines of a table: a name, then numbers in columns.
struct Table {
    head: Vec<String>,
    rows: Vec<(String, Vec<String>)>,
}

/// All tables.
pub(super) fn text(report: &Report, per_image: bool) -> String {
    let mut text = format!(
        "{} images, {} labelled cells ({})\n\n",
        report.n_images,
        report.labelled,
        report.classes.join(", ")
    );
    text.push_str(&main(report, per_image).text());
    text.push_str(&agreement(report));
    for model in &report.models {
        if let Some(sweep) = &model.sweep {
            text.push_str(&swept(model, sweep));
        }
    }
    for model in &report.models {
        text.push_str(&worst(model));
    }
    text
}

fn main(report: &Report, per_image: bool) -> Table {
    let mut table = Table::new(scores_head(report));
    for model in &report.models {
        let mut row = scores_row(&model.all);
        row.push(format!("{:.1}", model.ms_per_image));
        table.rows.push((model.label.clone(), row));
        let mut more = |named: &Named| {
            let name = format!("  {}", named.name);
            table.rows.push((name, scores_row(&named.scores)));
        };
        if model.by_class.len() > 1 {
            model.by_class.iter().for_each(&mut more);
        }
        if per_image {
            model.by_image.iter().for_each(&mut more);
        }
    }
    table
}

fn scores_head(report: &Report) -> Vec<String> {
    let mut head = vec!["labelled".to_owned(), "found".to_owned()];
    if let Some(model) = report.models.first() {
        head.extend(bounds(&model.all));
    }
    let fixed = [
        "mAP50", "mAP50-95", "mean IoU", "AJI", "PQ", "SQ", "RQ", "ms/image",
    ];
    head.extend(fixed.map(str::to_owned));
    head
}

/// Precision and recall at the first IoU, F1 at each.
fn bounds(scores: &Scores) -> Vec<String> {
    let mut head = Vec::new();
    if let Some(first) = scores.at.first() {
        head.push(format!("precision@{}", first.iou));
        head.push(format!("recall@{}", first.iou));
    }
    head.extend(scores.at.iter().map(|at| format!("F1@{}", at.iou)));
    head
}

fn scores_row(scores: &Scores) -> Vec<String> {
    let mut row = vec![scores.labelled.to_string(), scores.found.to_string()];
    row.extend(bounds_row(scores));
    let Scores {
        map50,
        map50_95,
        mean_iou,
        aji,
        pq,
        sq,
        rq,
        ..
    } = *scores;
    row.extend([map50, map50_95, mean_iou, aji, pq, sq, rq].map(number));
    row
}

fn bounds_row(scores: &Scores) -> Vec<String> {
    let mut row = Vec::new();
    if let Some(first) = scores.at.first() {
        row.extend([number(first.precision), number(first.recall)]);
    }
    row.extend(scores.at.iter().map(|at| number(at.f1)));
    row
}

fn number(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.3}"))
}

fn agreement(report: &Report) -> String {
    let Some((first, others)) = report.models.split_first() else {
        return String::new();
    };
    let mut table: Option<Table> = None;
    for model in others {
        let Some(scores) = &model.agreement else {
            continue;
        };
        let mut head = vec!["its cells".to_owned(), "cells".to_owned()];
        head.extend(bounds(scores));
        head.extend(["mean IoU", "PQ"].map(str::to_owned));
        let mut row = vec![scores.labelled.to_string(), scores.found.to_string()];
        row.extend(bounds_row(scores));
        row.extend([number(scores.mean_iou), number(scores.pq)]);
        let table = table.get_or_insert_with(|| Table::new(head));
        table.rows.push((model.label.clone(), row));
    }
    table.map_or(String::new(), |table| {
        format!(
            "\nagreement with {}, as if its cells were labels\n\n{}",
            first.label,
            table.text()
        )
    })
}

fn swept(model: &ModelReport, sweep: &SweepReport) -> String {
    let mut head = vec!["found".to_owned()];
    head.extend(bounds(&model.all));
    head.extend(["mAP50", "AJI", "PQ"].map(str::to_owned));
    let mut table = Table::new(head);
    for swept in &sweep.at {
        let Scores { map50, aji, pq, .. } = swept.scores;
        let mut row = vec![swept.scores.found.to_string()];
        row.extend(bounds_row(&swept.scores));
        row.extend([map50, aji, pq].map(number));
        let best = match sweep.best_confidence == Some(swept.confidence) {
            true => " best",
            false => "",
        };
        let name = format!("  confidence {:.2}{best}", swept.confidence);
        table.rows.push((name, row));
    }
    format!("\n{} at each confidence\n\n{}", model.label, table.text())
}

fn worst(model: &ModelReport) -> String {
    let lines: Vec<String> = model
        .worst
        .iter()
        .filter_map(|&i| {
            let image = model.by_image.get(i)?;
            let at = image.scores.at.first()?;
            Some(format!(
                "  {}: F1 {}, {} right, {} missed, {} wrong\n",
                image.name,
                number(at.f1),
                at.right,
                at.missed,
                at.wrong
            ))
        })
        .collect();
    match lines.is_empty() {
        true => String::new(),
        false => format!("\n{}: worst images\n{}", model.label, lines.concat()),
    }
}

impl Table {
    fn new(head: Vec<String>) -> Table {
        Table {
            head,
            rows: Vec::new(),
        }
    }

    /// Names to the left, numbers to the right, two spaces between columns.
    fn text(&self) -> String {
        let name_width = self
            .rows
            .iter()
            .map(|(name, _)| name.chars().count())
            .max()
            .unwrap_or(0);
        let widths: Vec<usize> = (0..)
            .zip(&self.head)
            .map(|(i, head): (usize, _)| {
                let cells = self.rows.iter().filter_map(|(_, row)| row.get(i));
                cells
                    .map(String::len)
                    .chain([head.len()])
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        let mut text = String::new();
        let head = ("", &self.head);
        let rows = self.rows.iter().map(|(name, row)| (name.as_str(), row));
        for (name, row) in [head].into_iter().chain(rows) {
            let mut line = format!("{name:<name_width$}");
            for (cell, width) in row.iter().zip(&widths) {
                write!(line, "  {cell:>width$}").expect("a String takes every write");
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(vec!["found".to_owned(), "F1".to_owned()]);
        table
            .rows
            .push(("a".to_owned(), vec!["12".to_owned(), "0.500".to_owned()]));
        table
            .rows
            .push(("  class".to_owned(), vec!["1234567".to_owned()]));
        assert_eq!(
            table.text(),
            "           found     F1\na             12  0.500\n  class  1234567\n"
        );
    }
}
