//! From a picture of any shape to an encoder's rectangle.

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};

use super::{ImageError, RgbImage};
use crate::encoder::{Filter, ImageInput, Resize};

/// Resizes a picture to exactly `input.width` x `input.height`.
///
/// Returns `input.height * input.width * 3` bytes, RGB interleaved, row by row. The result
/// depends on the picture and `input` alone, not on the instructions that the machine has: pixels
/// are summed in integers with fixed rounding. It works on the stored (gamma) values.
///
/// # Errors
/// [`ImageError::ZeroSized`] when `input` has no pixels.
pub fn fit(picture: &RgbImage, input: &ImageInput) -> Result<Vec<u8>, ImageError> {
    resize(picture, input, &mut Resizer::new())
}

fn resize(
    picture: &RgbImage,
    input: &ImageInput,
    resizer: &mut Resizer,
) -> Result<Vec<u8>, ImageError> {
    let (width, height) = (input.width, input.height);
    if width == 0 || height == 0 {
        return Err(ImageError::ZeroSized { width, height });
    }
    if (picture.width(), picture.height()) == (width, height) {
        return Ok(picture.pixels().to_vec());
    }
    let filter = match input.filter {
        Filter::Bilinear => FilterType::Bilinear,
        Filter::Lanczos3 => FilterType::Lanczos3,
    };
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter));
    let options = match input.resize {
        Resize::Stretch => options,
        Resize::CenterCrop => options.fit_into_destination(Some((0.5, 0.5))),
    };
    let undecodable = |reason: String| ImageError::Undecodable { reason };
    let source = TypedImageRef::from_buffer(picture.width(), picture.height(), picture.pixels())
        .map_err(|e| undecodable(e.to_string()))?;
    let mut fitted = vec![0; input.bytes()];
    let mut target = TypedImage::from_buffer(width, height, &mut fitted)
        .map_err(|e| undecodable(e.to_string()))?;
    // Typed, so that only this pixel type is compiled and not the other twelve.
    resizer
        .resize_typed::<U8x3>(&source, &mut target, &options)
        .map_err(|e| undecodable(e.to_string()))?;
    Ok(fitted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fast_image_resize::CpuExtensions;
    use proptest::prelude::*;

    fn pictures() -> impl Strategy<Value = RgbImage> {
        (1u32..70, 1u32..70).prop_flat_map(|(width, height)| {
            prop::collection::vec(any::<u8>(), (width * height * 3) as usize)
                .prop_map(move |pixels| RgbImage::new(width, height, pixels).unwrap())
        })
    }

    proptest! {
        /// A database is carried from machine to machine, and the codes must be the same there.
        #[test]
        fn every_instruction_set_gives_the_same_bytes(
            picture in pictures(), width in 1u32..40, height in 1u32..40, crop: bool, sharp: bool,
        ) {
            let input = ImageInput {
                width,
                height,
                resize: if crop { Resize::CenterCrop } else { Resize::Stretch },
                filter: if sharp { Filter::Lanczos3 } else { Filter::Bilinear },
            };
            let mut plain = Resizer::new();
            // SAFETY: every machine has no extensions.
            unsafe { plain.set_cpu_extensions(CpuExtensions::None) };
            let expected = resize(&picture, &input, &mut plain).unwrap();
            prop_assert_eq!(expected.len(), input.bytes());
            prop_assert_eq!(fit(&picture, &input).unwrap(), expected);
        }
    }

    #[test]
    fn the_crop_is_the_centre() {
        // Three squares side by side; the middle one is what a square input sees.
        let mut pixels = Vec::new();
        for _ in 0..8 {
            for x in 0..24 {
                pixels.extend_from_slice(match x / 8 {
                    0 => &[255, 0, 0],
                    1 => &[0, 255, 0],
                    _ => &[0, 0, 255],
                });
            }
        }
        let picture = RgbImage::new(24, 8, pixels).unwrap();
        let input = ImageInput {
            resize: Resize::CenterCrop,
            ..ImageInput::stretch(4, 4)
        };
        let fitted = fit(&picture, &input).unwrap();
        // The filter reads over the edge of the crop, so only the inner columns are pure.
        for row in fitted.chunks_exact(12) {
            assert_eq!(row[3..9], [0, 255, 0, 0, 255, 0]);
        }
        let stretched = fit(&picture, &ImageInput::stretch(3, 3)).unwrap();
        assert!(
            [0, 4, 8].iter().all(|&own| stretched[own] > 150),
            "{stretched:?}"
        );
    }

    #[test]
    fn an_input_without_pixels_is_refused() {
        let picture = RgbImage::new(1, 1, vec![0; 3]).unwrap();
        assert_eq!(
            fit(&picture, &ImageInput::stretch(0, 4)),
            Err(ImageError::ZeroSized {
                width: 0,
                height: 4
            })
        );
        assert_eq!(fit(&picture, &ImageInput::stretch(2, 1)).unwrap(), [0; 6]);
    }
}
