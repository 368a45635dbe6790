//! The table with a row a track.

use std::io::Write;

use super::{Column, Format, Kind, TableFile, Value};
use crate::export::{
    ExportError, Provenance,
    tracks::{History, Tracks},
};

const COLUMNS: [(&str, Kind); 20] = [
    ("series", Kind::Text),
    ("track_id", Kind::Int),
    ("parent_id", Kind::Int),
    ("lineage", Kind::Text),
    ("generation", Kind::Int),
    ("daughters", Kind::Int),
    ("first_frame", Kind::Int),
    ("last_frame", Kind::Int),
    ("frames_seen", Kind::Int),
    ("frames_missing", Kind::Int),
    ("first_h", Kind::Float),
    ("last_h", Kind::Float),
    ("duration_h", Kind::Float),
    ("path_px", Kind::Float),
    ("path_um", Kind::Float),
    ("mean_speed_um_per_h", Kind::Float),
    ("displacement_px", Kind::Float),
    ("displacement_um", Kind::Float),
    ("mean_area_px", Kind::Float),
    ("mean_area_um2", Kind::Float),
];

/// Writes the tracks of each series, named as in a log. Frames are numbered within a series, from 0. The path has the drift of the
/// stage taken out, the displacement between first and last place on the image has not.
pub fn track_table<W: Write + Send>(
    format: Format,
    out: W,
    series: &[(String, &Tracks)],
    provenance: &Provenance,
) -> Result<(), ExportError> {
    let columns = COLUMNS.map(|(name, kind)| Column {
        name: name.to_owned(),
        kind,
    });
    let mut file = TableFile::new(format, out, columns.into(), provenance)?;
    for (name, tracks) in series {
        let daughters = tracks.daughters();
        for (id, history) in tracks.iter() {
            let n_daughters = daughters.get(&id).copied().unwrap_or_default();
            file.row(row(name, tracks, id, history, n_daughters))?;
        }
    }
    file.finish()
}

fn row(series: &str, tracks: &Tracks, id: u64, history: &History, daughters: u32) -> Vec<Value> {
    let (first, last) = (history.first(), history.last());
    let lineage = tracks.lineage(id);
    let names: Vec<String> = lineage.iter().map(u64::to_string).collect();
    let n_seen = history.seen.len() as i64;
    let um = |px: Option<f64>| px.zip(first.pixel_size_um).map(|(px, um)| px * um);
    let duration_h = first
        .hours
        .zip(last.hours)
        .map(|(first, last)| last - first);
    let path_um = um(history.path_px());
    let speed = path_um
        .zip(duration_h)
        .filter(|&(_, hours)| hours > 0.0)
        .map(|(um, hours)| um / hours);
    let displacement_px =
        (last.centroid_px.0 - first.centroid_px.0).hypot(last.centroid_px.1 - first.centroid_px.1);
    vec![
        Value::text(series),
        Value::id(Some(id)),
        Value::id(history.parent_id),
        Value::Text(names.join("/")),
        Value::Int(lineage.len() as i64 - 1),
        Value::Int(daughters.into()),
        Value::Int(first.frame.into()),
        Value::Int(last.frame.into()),
        Value::Int(n_seen),
        Value::Int(i64::from(last.frame - first.frame) + 1 - n_seen),
        Value::float(first.hours),
        Value::float(last.hours),
        Value::float(duration_h),
        Value::float(history.path_px()),
        Value::float(path_um),
        Value::float(speed),
        Value::Float(displacement_px),
        Value::float(um(Some(displacement_px))),
        Value::Float(history.mean_area_px()),
        Value::float(um(um(Some(history.mean_area_px())))),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::testing::{division, provenance};

    #[test]
    fn a_track_is_a_row_that_knows_its_lineage() {
        let tracks = division();
        let mut out = Vec::new();
        let series = [("position \"A\"".to_owned(), &tracks)];
        track_table(Format::Csv, &mut out, &series, &provenance()).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = text
            .lines()
            .map(|line| line.split_once(',').unwrap().1)
            .collect();
        assert!(
            lines[0].starts_with("track_id,parent_id,lineage,generation,daughters,"),
            "{text}"
        );
        // The mother is missing in frame 1; the daughters come in frame 3.
        assert!(lines[1].starts_with("1,,1,0,2,0,2,2,1,0,1,1,"), "{text}");
        assert!(
            lines[2].starts_with("2,1,1/2,1,0,3,3,1,0,1.5,1.5,0,0,,,0,,"),
            "{text}"
        );
        assert_eq!(lines.len(), 4);
    }
}
