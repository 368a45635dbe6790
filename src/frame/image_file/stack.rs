//! TIFF files of many pages.

use std::{
    collections::HashSet,
    io::{Read, Seek, SeekFrom},
};

use bytes::Bytes;
use tiff::{decoder::Decoder, tags::Tag};

use super::{
    Described, Page, PixelSize,
    imagej::ImageJ,
    leave_out_unused_axes, micro_manager, ome,
    tags::{Sizes, Tags},
};
use crate::frame::{
    FrameError, FrameLimits, Layout,
    encoded::tiff::{Metered, format_of, read_page, refusal, room},
};

/// Most pages. A day of a frame a second has 86,400.
const MAX_PAGES: usize = 1 << 20;

/// An open TIFF.
#[derive(Debug)]
pub(super) struct Stack<R: Read + Seek> {
    decoder: Decoder<Metered<R>>,
    n_pages: u32,
    /// The last page's directory cannot be read.
    broken: Option<String>,
    contiguous: Option<Contiguous>,
}

/// ImageJ writes stacks of over 4 GB with one directory: the pages follow the first one's pixels.
#[derive(Debug)]
struct Contiguous {
    start: u64,
    n_pages: usize,
    layout: Layout,
    big_endian: bool,
}

/// What the directories say.
#[derive(Debug, Default)]
struct Said {
    pages: Vec<Page>,
    /// Every page has said itself which it is.
    by_micro_manager: bool,
    /// Of the first page.
    description: String,
    /// Of the first page.
    sizes: Sizes,
}

impl<R: Read + Seek> Stack<R> {
    /// Reads every directory, and what they say.
    pub(super) fn open(
        file: R,
        bytes: u64,
        limits: &FrameLimits,
    ) -> Result<(Stack<R>, Described), FrameError> {
        let decoder = Decoder::new(Metered::new(file, bytes));
        let decoder = decoder.map_err(|error| refusal(error, 0, limits))?;
        let mut stack = Stack {
            decoder: decoder.with_limits(room(limits)),
            n_pages: 0,
            broken: None,
            contiguous: None,
        };
        let mut said = stack.walk(bytes);
        if let Some(imagej) = ImageJ::read(&said.description) {
            stack.contiguous = stack.contiguous(imagej.n_images(), limits);
        }
        if let Some(contiguous) = &stack.contiguous {
            said.pages.resize(contiguous.n_pages, Page::default());
        }
        stack.n_pages = said.pages.len() as u32;
        Ok((stack, said.described()))
    }

    /// Follows the directories from the first to the last that is whole. One that is not counts as a page.
    fn walk(&mut self, bytes: u64) -> Said {
        let mut said = Said::default();
        let mut visited = HashSet::new();
        let mut next = self.decoder.ifd_pointer();
        while let Some(pointer) = next {
            let mut page = Page::default();
            let page_number = said.pages.len();
            let directory = if !visited.insert(pointer.0) {
                Err("its directories form a ring".to_owned())
            } else if page_number == MAX_PAGES {
                Err(format!("pages past the first {MAX_PAGES} are not read"))
            } else {
                self.decoder.read_directory(pointer).map_err(|error| {
                    format!(
                        "its directory, at byte {} of {bytes}, is not whole: {error}; is the file cut off?",
                        pointer.0
                    )
                })
            };
            next = match directory {
                Ok(directory) => {
                    let mut tags = Tags {
                        decoder: &mut self.decoder,
                        directory: &directory,
                    };
                    if page_number == 0 {
                        said.description = tags.text(Tag::ImageDescription).unwrap_or_default();
                        said.sizes = tags.sizes();
                    }
                    tags.nikon(&mut page);
                    let tag = tags.text(Tag::Unknown(micro_manager::TAG));
                    if let Some(tag) = tag.and_then(|json| micro_manager::Tag::read(&json)) {
                        let sizes = &mut said.sizes;
                        sizes.micro_manager = sizes.micro_manager.or(tag.pixel_size_um);
                        tag.describe(&mut page);
                        said.by_micro_manager = true;
                    }
                    directory.next()
                }
                Err(why) => {
                    self.broken = Some(format!("page {page_number}: {why}"));
                    None
                }
            };
            said.pages.push(page);
        }
        said
    }

    /// The pixels of a page.
    pub(super) fn read(
        &mut self,
        page: u32,
        limits: &FrameLimits,
    ) -> Result<(Layout, Bytes), FrameError> {
        if page >= self.n_pages {
            return Err(FrameError::Invalid(format!(
                "page {page}: the TIFF file has {} pages; pages count from 0",
                self.n_pages
            )));
        }
        if let Some(broken) = &self.broken
            && page == self.n_pages - 1
        {
            return Err(FrameError::Invalid(broken.clone()));
        }
        self.decoder.inner().again();
        let pixels = match &self.contiguous {
            Some(contiguous) => contiguous.read(page, self.decoder.inner()),
            None => read_page(&mut self.decoder, page, limits),
        };
        let numbered = |what| format!("page {page}: {what}");
        pixels.map_err(|error| match error {
            FrameError::Invalid(what) => FrameError::Invalid(numbered(what)),
            FrameError::TooLarge(what) => FrameError::TooLarge(numbered(what)),
            FrameError::Unsupported(what) => FrameError::Unsupported(numbered(what)),
        })
    }

    /// Where the pages are of which no directory tells; none if every page has one.
    fn contiguous(&mut self, n_images: u32, limits: &FrameLimits) -> Option<Contiguous> {
        let decoder = &mut self.decoder;
        if n_images < 2 || decoder.more_images() || n_images as usize > MAX_PAGES {
            return None;
        }
        let (width, height) = decoder.dimensions().ok()?;
        let format = format_of(decoder, limits).ok()?;
        limits.check(width, height, format).ok()?;
        let compression = decoder.find_tag_unsigned::<u16>(Tag::Compression).ok()?;
        let photometric = decoder.get_tag_u32(Tag::PhotometricInterpretation).ok()?;
        let strips = decoder.get_tag_u64_vec(Tag::StripOffsets).ok()?;
        // White as 0 would have to be turned round, as the decoder does with single pages.
        if compression.is_some_and(|compression| compression != 1) || photometric == 0 {
            return None;
        }
        let start = *strips.first()?;
        let page_bytes = format.row_bytes(width) as u64 * u64::from(height);
        // Of a file that is cut off, what is there and the first that is not.
        let n_there = decoder.inner().length().saturating_sub(start) / page_bytes + 1;
        Some(Contiguous {
            start,
            n_pages: u64::from(n_images).min(n_there) as usize,
            layout: Layout {
                format,
                width,
                height,
                row_stride: 0,
                significant_bits: 0,
            },
            big_endian: decoder.byte_order() == tiff::tags::ByteOrder::BigEndian,
        })
    }
}

impl Said {
    /// Which page is what, and how large a pixel is, from whoever says it most exactly.
    fn described(mut self) -> Described {
        let ome = ome::read(&self.description, self.pages.len());
        let imagej = ImageJ::read(&self.description);
        match (&ome, &imagej) {
            _ if self.by_micro_manager => {}
            (Some(ome), _) => ome.describe(&mut self.pages),
            (None, Some(imagej)) => imagej.describe(&mut self.pages),
            // Nothing is said: pages one after the other are most often frames.
            (None, None) => {
                for (t, page) in (0..).zip(&mut self.pages) {
                    page.index.insert("t".to_owned(), t);
                }
            }
        }
        leave_out_unused_axes(&mut self.pages);
        let sizes = &self.sizes;
        let pixel_size = ome
            .and_then(|ome| ome.pixel_size)
            .or_else(|| imagej.as_ref()?.pixel_size(sizes.x, sizes.y))
            .or_else(|| PixelSize::new("Micro-Manager", sizes.micro_manager, None))
            .or_else(|| PixelSize::new("Nikon tags", sizes.nikon, None))
            .or_else(|| sizes.by_resolution());
        Described {
            pages: self.pages,
            pixel_size,
        }
    }
}

impl Contiguous {
    fn read<R: Read + Seek>(
        &self,
        page: u32,
        file: &mut Metered<R>,
    ) -> Result<(Layout, Bytes), FrameError> {
        let Layout {
            format,
            width,
            height,
            ..
        } = self.layout;
        let mut pixels = vec![0; format.row_bytes(width) * height as usize];
        let start = self
            .start
            .saturating_add(u64::from(page) * pixels.len() as u64);
        let read = file
            .seek(SeekFrom::Start(start))
            .and_then(|_| file.read_exact(&mut pixels));
        read.map_err(|error| {
            let end = start.saturating_add(pixels.len() as u64);
            FrameError::Invalid(format!(
                "its pixels, bytes {start} to {end}, are not in the file of {} bytes: {error}; is it cut off?",
                file.length()
            ))
        })?;
        if self.big_endian && format.sample_bytes() == Some(2) {
            for sample in pixels.as_chunks_mut::<2>().0 {
                *sample = [sample[1], sample[0]];
            }
        }
        Ok((self.layout, Bytes::from(pixels)))
    }
}
