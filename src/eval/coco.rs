//! Labels in COCO's JSON.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use serde_json::Value;

use super::{compare::Labelled, segmentation::mask_of};

/// What a COCO file labels.
#[derive(Clone, Debug, PartialEq)]
pub struct CocoTruth {
    /// By rising id; [`Labelled::class`] is an index into it.
    pub categories: Vec<Category>,
    /// By rising id.
    pub images: Vec<CocoImage>,
}

/// A class of the labels.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct Category {
    /// As in the file.
    pub id: u64,
    /// What people call it.
    pub name: String,
}

/// An image and its cells.
#[derive(Clone, Debug, PartialEq)]
pub struct CocoImage {
    /// As in the file.
    pub id: u64,
    /// Relative to the folder of the images.
    pub file_name: String,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// In the order of the file.
    pub cells: Vec<Labelled>,
}

/// Why a file is no set of labels.
#[derive(Debug, thiserror::Error)]
pub enum CocoError {
    /// It is not JSON, or not COCO's.
    #[error("not COCO's JSON, which has images, annotations and categories")]
    Json(#[from] serde_json::Error),
    /// It is, but cannot be meant: names the entry.
    #[error("{0}")]
    Entry(String),
}

#[derive(Deserialize)]
struct File {
    images: Vec<ImageEntry>,
    annotations: Vec<Annotation>,
    categories: Vec<Category>,
}

#[derive(Deserialize)]
struct ImageEntry {
    id: u64,
    file_name: String,
    width: u32,
    height: u32,
}

#[derive(Deserialize)]
struct Annotation {
    #[serde(default)]
    id: u64,
    image_id: u64,
    category_id: u64,
    segmentation: Value,
    #[serde(default)]
    iscrowd: u8,
}

/// Of an image; so that a pixel's number and a mask's box are never too large.
const MOST_SIDE: u32 = u16::MAX as u32;

impl CocoTruth {
    /// Reads `annotations.json`.
    pub fn read(json: &[u8]) -> Result<CocoTruth, CocoError> {
        let File {
            images,
            annotations,
            mut categories,
        } = serde_json::from_slice(json)?;
        categories.sort_by_key(|category| category.id);
        let class: HashMap<u64, usize> = (0..).zip(&categories).map(|(i, c)| (c.id, i)).collect();
        if class.len() < categories.len() {
            return Err(entry("two categories have the same id".to_owned()));
        }
        let mut by_id = BTreeMap::new();
        for ImageEntry {
            id,
            file_name,
            width,
            height,
        } in images
        {
            let side = 1..=MOST_SIDE;
            if !side.contains(&width) || !side.contains(&height) {
                let right = format!("a side must be 1 to {MOST_SIDE}");
                return Err(entry(format!(
                    "image {id}: {width}x{height} pixels: {right}"
                )));
            }
            let image = CocoImage {
                id,
                file_name,
                width,
                height,
                cells: Vec::new(),
            };
            if by_id.insert(id, image).is_some() {
                return Err(entry(format!("image {id} is there twice")));
            }
        }
        for annotation in &annotations {
            let named = |why: String| entry(format!("annotation {}: {why}", annotation.id));
            let Annotation {
                image_id,
                category_id,
                segmentation,
                iscrowd,
                ..
            } = annotation;
            let image = by_id
                .get_mut(image_id)
                .ok_or_else(|| named(format!("image_id {image_id} is none of the images")))?;
            let class = class.get(category_id).ok_or_else(|| {
                named(format!(
                    "category_id {category_id} is none of the categories"
                ))
            })?;
            let mask = mask_of(segmentation, image.width, image.height)
                .map_err(|why| named(format!("segmentation: {why}")))?;
            image.cells.push(Labelled {
                class: *class,
                mask,
                crowd: *iscrowd != 0,
            });
        }
        Ok(CocoTruth {
            categories,
            images: by_id.into_values().collect(),
        })
    }
}

fn entry(why: String) -> CocoError {
    CocoError::Entry(why)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::CocoTruth;

    fn file(change: impl FnOnce(&mut Value)) -> Vec<u8> {
        let mut file = json!({
            "info": {"made": "by hand"},
            "images": [{"id": 9, "file_name": "b.png", "width": 4, "height": 3}, {"id": 2, "file_name": "a.png", "width": 8, "height": 6}],
            "annotations": [
                {"id": 1, "image_id": 9, "category_id": 3, "segmentation": [[0, 0, 2, 0, 2, 2]], "bbox": [0, 0, 2, 2]},
                {"id": 2, "image_id": 9, "category_id": 1, "segmentation": {"size": [3, 4], "counts": [0, 12]}, "iscrowd": 1},
            ],
            "categories": [{"id": 3, "name": "nucleus"}, {"id": 1, "name": "cell", "supercategory": "thing"}],
        });
        change(&mut file);
        serde_json::to_vec(&file).unwrap()
    }

    #[test]
    fn images_and_categories_come_by_their_ids() {
        let truth = CocoTruth::read(&file(|_| {})).unwrap();
        let names: Vec<_> = truth.images.iter().map(|image| &*image.file_name).collect();
        assert_eq!(names, ["a.png", "b.png"]);
        assert_eq!(truth.categories[1].name, "nucleus");
        let cells: Vec<_> = truth.images[1]
            .cells
            .iter()
            .map(|c| (c.class, c.crowd))
            .collect();
        assert_eq!(cells, [(1, false), (0, true)]);
        assert_eq!(truth.images[1].cells[1].mask.area(), 12);
    }

    #[test]
    fn entries_that_cannot_be_meant_are_named() {
        type Change = fn(&mut Value);
        let cases: [(Change, &str); 7] = [
            (
                |file| file["images"][0]["id"] = json!(2),
                "image 2 is there twice",
            ),
            (
                |file| file["images"][0]["width"] = json!(0),
                "image 9: 0x3 pixels",
            ),
            (
                |file| file["annotations"][0]["image_id"] = json!(5),
                "annotation 1: image_id 5",
            ),
            (
                |file| file["annotations"][0]["category_id"] = json!(5),
                "annotation 1: category_id 5",
            ),
            (
                |file| file["annotations"][1]["segmentation"] = json!(7),
                "annotation 2: segmentation: must be",
            ),
            (
                |file| file["categories"][0]["id"] = json!(1),
                "two categories",
            ),
            (|file| file["images"] = json!(null), "not COCO's JSON"),
        ];
        for (change, expected) in cases {
            let error = CocoTruth::read(&file(change))
                .expect_err("wrong")
                .to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
