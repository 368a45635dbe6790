//! Images and the cells that somebody labelled in them.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::BufReader,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use bytes::Bytes;

use crate::{
    cli::UsageError,
    eval::{Category, CocoTruth, Labelled, cells_of_labels},
    frame::{FrameLimits, ImageFile, Layout, PixelFormat},
};

/// All images, and the classes of the labels.
pub(super) struct Dataset {
    /// [`Labelled::class`] is an index into it.
    pub(super) classes: Vec<Category>,
    /// Models' classes are not told apart.
    pub(super) one_class: bool,
    /// By rising id.
    pub(super) images: Vec<Labels>,
}

/// One image.
pub(super) struct Labels {
    /// COCO's, else by the order of the names, from 1.
    pub(super) id: u64,
    /// Without folder and extension.
    pub(super) name: String,
    pub(super) path: PathBuf,
    /// Where the labels come from, for a person.
    pub(super) source: PathBuf,
    /// Pixels.
    pub(super) width: u32,
    /// Pixels.
    pub(super) height: u32,
    pub(super) cells: Vec<Labelled>,
}

/// Names listed in a message.
const MOST_NAMED: usize = 5;

impl Dataset {
    /// Images and label images of the same names; the labels of one cell are one number.
    pub(super) fn of_masks(images: &Path, masks: &Path) -> Result<Dataset> {
        let images_of = named_files(images, &["png", "tif", "tiff", "jpg", "jpeg"])?;
        let masks_of = named_files(masks, &["png", "tif", "tiff"])?;
        let without = |a: &BTreeMap<String, PathBuf>, b: &BTreeMap<String, PathBuf>| {
            let left: Vec<String> = a
                .iter()
                .filter(|(name, _)| !b.contains_key(*name))
                .map(|(_, path)| path.display().to_string())
                .collect();
            left
        };
        let unlabelled = without(&images_of, &masks_of);
        if !unlabelled.is_empty() {
            let folder = masks.display();
            return Err(usage(format!(
                "no label image of the same name in {folder} for: {}",
                listed(&unlabelled)
            )));
        }
        let unknown = without(&masks_of, &images_of);
        if !unknown.is_empty() {
            let folder = images.display();
            return Err(usage(format!(
                "no image of the same name in {folder} for: {}",
                listed(&unknown)
            )));
        }
        let labels = (1..).zip(images_of.into_iter().zip(masks_of.into_values()));
        Ok(Dataset {
            classes: one_class(),
            one_class: true,
            images: labels
                .map(|(id, ((name, path), source))| {
                    let (cells, width, height) = read_labels(&source)
                        .with_context(|| format!("label image {}", source.display()))?;
                    Ok(Labels {
                        id,
                        name,
                        path,
                        source,
                        width,
                        height,
                        cells,
                    })
                })
                .collect::<Result<_>>()?,
        })
    }

    /// The images that a COCO file labels; others in the folder have no part.
    pub(super) fn of_coco(images: &Path, coco: &Path, one: bool) -> Result<Dataset> {
        let named = || coco.display().to_string();
        let json = fs::read(coco).with_context(|| format!("cannot read {}", named()))?;
        let truth = CocoTruth::read(&json).with_context(named)?;
        if truth.images.is_empty() {
            return Err(usage(format!("{} has no images", named())));
        }
        let mut labels: Vec<Labels> = truth
            .images
            .into_iter()
            .map(|image| {
                let path = images.join(&image.file_name);
                Labels {
                    id: image.id,
                    name: name_of(Path::new(&image.file_name)),
                    path,
                    source: coco.to_owned(),
                    width: image.width,
                    height: image.height,
                    cells: image.cells,
                }
            })
            .collect();
        let missing: Vec<String> = labels
            .iter()
            .filter(|image| !image.path.is_file())
            .map(|image| image.path.display().to_string())
            .collect();
        if !missing.is_empty() {
            return Err(usage(format!(
                "{} names images that are not there: {}",
                named(),
                listed(&missing)
            )));
        }
        if one {
            let cells = labels.iter_mut().flat_map(|image| &mut image.cells);
            cells.for_each(|cell| cell.class = 0);
        }
        Ok(Dataset {
            classes: if one { one_class() } else { truth.categories },
            one_class: one,
            images: labels,
        })
    }

    /// Of each class of a model the class of the labels that it is; none: not labelled.
    pub(super) fn classes_of(&self, model: &[String]) -> Result<Vec<Option<usize>>> {
        if self.one_class {
            return Ok(vec![Some(0); model.len().max(1)]);
        }
        let same = |name: &String| {
            let is_same = |class: &Category| class.name.eq_ignore_ascii_case(name);
            self.classes.iter().position(is_same)
        };
        let classes: Vec<Option<usize>> = model.iter().map(same).collect();
        if classes.iter().all(Option::is_none) {
            let labelled: Vec<&str> = self.classes.iter().map(|class| &*class.name).collect();
            return Err(usage(format!(
                "the model finds {}, the labels are of {}: no name is the same; --one-class does not tell classes apart",
                model.join(", "),
                labelled.join(", "),
            )));
        }
        Ok(classes)
    }
}

fn one_class() -> Vec<Category> {
    vec![Category {
        id: 1,
        name: "cell".to_owned(),
    }]
}

/// Image files of a folder by their names.
fn named_files(folder: &Path, extensions: &[&str]) -> Result<BTreeMap<String, PathBuf>> {
    let mut files = BTreeMap::new();
    let entries = fs::read_dir(folder)
        .with_context(|| format!("cannot read the folder {}", folder.display()))?;
    for entry in entries {
        let path = entry
            .with_context(|| format!("cannot read the folder {}", folder.display()))?
            .path();
        let is_image = path.extension().is_some_and(|own| {
            extensions
                .iter()
                .any(|extension| own.eq_ignore_ascii_case(extension))
        });
        if !is_image {
            continue;
        }
        if let Some(other) = files.insert(name_of(&path), path.clone()) {
            return Err(usage(format!(
                "{} and {} have the same name: which one is meant cannot be told",
                other.display(),
                path.display()
            )));
        }
    }
    match files.is_empty() {
        true => Err(usage(format!(
            "{} has no image: {} files are looked for",
            folder.display(),
            extensions.join(", ")
        ))),
        false => Ok(files),
    }
}

/// Without folder and extension, and without what programs put before it: `a.ome.tif` and `a.labels.png` are of `a`.
fn name_of(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let name = stem.strip_suffix(".ome").unwrap_or(&stem);
    name.strip_suffix(".labels").unwrap_or(name).to_owned()
}

/// The pixels of a file that holds one image, and the micrometres of one where the file says so.
pub(super) fn read_image(
    path: &Path,
    limits: &FrameLimits,
) -> Result<(Layout, Bytes, Option<f64>)> {
    let file = File::open(path).context("cannot be read")?;
    let mut file = ImageFile::open(BufReader::new(file), limits)?;
    let n_pages = file.pages().len();
    if n_pages != 1 {
        bail!(
            "has {n_pages} pages: labels belong to one image, so each page must be a file of its own"
        );
    }
    let (layout, bytes) = file.read(0)?;
    Ok((layout, bytes, file.pixel_size().map(|size| size.um)))
}

fn read_labels(path: &Path) -> Result<(Vec<Labelled>, u32, u32)> {
    let (layout, bytes, _) = read_image(path, &FrameLimits::default())?;
    let labels: Vec<u16> = match layout.format {
        PixelFormat::Mono8 => bytes.iter().map(|&label| u16::from(label)).collect(),
        PixelFormat::Mono16 => {
            let pairs = bytes.as_chunks::<2>().0.iter();
            pairs.map(|&pair| u16::from_le_bytes(pair)).collect()
        }
        other => bail!("{other:?} pixels: a label image has one number of 8 or 16 bits a pixel"),
    };
    let cells = cells_of_labels(&labels, layout.width);
    Ok((cells, layout.width, layout.height))
}

fn listed(names: &[String]) -> String {
    let first = names[..names.len().min(MOST_NAMED)].join(", ");
    match names.len().saturating_sub(MOST_NAMED) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

fn usage(why: String) -> anyhow::Error {
    UsageError(why).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_programs_put_before_the_extension_is_no_name() {
        for (path, name) in [
            ("x/a.png", "a"),
            ("a.ome.tif", "a"),
            ("a.labels.png", "a"),
            ("a.b.png", "a.b"),
        ] {
            assert_eq!(name_of(Path::new(path)), name, "{path}");
        }
    }

    #[test]
    fn a_models_classes_are_found_by_name() {
        let dataset = |one_class| Dataset {
            classes: ["Nucleus", "debris"]
                .map(|name| Category {
                    id: 1,
                    name: name.to_owned(),
                })
                .to_vec(),
            one_class,
            images: Vec::new(),
        };
        let model = ["cell".to_owned(), "nucleus".to_owned()];
        let told_apart = dataset(false);
        assert_eq!(told_apart.classes_of(&model).unwrap(), [None, Some(0)]);
        assert_eq!(
            dataset(true).classes_of(&model).unwrap(),
            [Some(0), Some(0)]
        );
        let error = told_apart.classes_of(&model[..1]).unwrap_err().to_string();
        assert!(
            error.contains("cell")
                && error.contains("Nucleus, debris")
                && error.contains("--one-class"),
            "{error}"
        );
    }
}
