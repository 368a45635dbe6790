//! A frame's cells in the forms of other tools: the same writers as `cellsegd export`.

use std::io::Cursor;

use super::accept::Form;
use crate::{
    export::{
        ExportError, FrameCells, Provenance, geojson,
        labels::{self, By},
        overlay, picture,
        roi::RoiZip,
        table::{self, CellTable, channels},
    },
    frame::Frame,
    proto as pb,
};

/// Writes the cells of a frame. `by`: what labels mean. `frame`: its pixels, for those forms that show them.
pub(super) fn write(
    form: Form,
    cells: &FrameCells,
    by: By,
    frame: Option<&Frame>,
    provenance: &Provenance,
) -> Result<Vec<u8>, ExportError> {
    let mut out = Cursor::new(Vec::new());
    match (form, frame) {
        (Form::GeoJson, _) => geojson::write(&mut out, cells, provenance)?,
        (Form::Labels, _) => labels::png(&mut out, cells, by, provenance)?,
        (Form::Tiff, _) => labels::ome_tiff(&mut out, cells, by, provenance)?,
        (Form::Csv, _) => {
            let channels = channels(cells.segmentation);
            let format = table::Format::Csv;
            let mut table = CellTable::new(format, &mut out, &channels, provenance)?;
            table.add(cells)?;
            table.finish()?;
        }
        (Form::Roi, _) => {
            let mut zip = RoiZip::new(&mut out, provenance)?;
            zip.add(cells, provenance)?;
            zip.finish()?;
        }
        (Form::Overlay, Some(frame)) => {
            let picture = overlay::draw(frame, cells.segmentation);
            picture::png(&mut out, &picture, provenance)?;
        }
        (Form::Overlay, None) | (Form::Json, _) => {
            return Err(ExportError::DoesNotFit(
                "these cells cannot be written in this form".to_owned(),
            ));
        }
    }
    Ok(out.into_inner())
}

/// What exports name. `options`: those of the session, settled.
pub(super) fn provenance(
    opened: &pb::SessionOpened,
    model: &pb::Model,
    options: serde_json::Value,
    received_at: Option<prost_types::Timestamp>,
) -> Provenance {
    Provenance {
        cellsegd: opened.server_version.clone(),
        model: model.name.clone(),
        version: model.version.clone(),
        sha256: model.sha256.clone(),
        backend: opened.backend.clone(),
        started_at: received_at.map(|time| time.to_string()).unwrap_or_default(),
        options,
        classes: model.classes.clone(),
    }
}

/// What names a frame in an export: its file's name without folders and ending, in letters that every file system takes; else its
/// id.
pub(super) fn image_id(file: &str, id: u64) -> String {
    let name = file.rsplit(['/', '\\']).next().unwrap_or_default();
    let stem = match name.rsplit_once('.') {
        Some((stem, _)) => stem.trim_end_matches(".ome"),
        None => name,
    };
    let safe: String = stem
        .chars()
        .take(100)
        .map(|c| match c {
            _ if c.is_alphanumeric() || "-_.+".contains(c) => c,
            _ => '_',
        })
        .collect();
    match safe.trim_matches('.').is_empty() {
        true => format!("frame{id}"),
        false => safe,
    }
}

#[cfg(test)]
mod tests {
    use super::image_id;

    #[test]
    fn a_name_leads_nowhere() {
        for (file, expected) in [
            ("t01.png", "t01"),
            ("scan.ome.tif", "scan"),
            ("../../etc/passwd.tif", "passwd"),
            ("C:\\images\\a b.tif", "a_b"),
            ("..", "frame7"),
            ("", "frame7"),
            ("noend", "noend"),
            ("µ/Zelle α.png", "Zelle_α"),
        ] {
            assert_eq!(image_id(file, 7), expected, "{file}");
        }
    }
}
