use super::*;

/// A picture that anybody can draw: waves and steps in whole numbers.
fn drawn(width: u32, height: u32, number: u32) -> RgbImage {
    let mut pixels = Vec::new();
    for y in 0..height {
        for x in 0..width {
            let (u, v) = (x * 256 / width, y * 256 / height);
            let wave = u * (u + 3 * number) / 61 + v * v * (number % 5 + 1) / 97 + u * v / 43;
            let step = (u / (17 + number) + v / 29) % 3 * 40;
            for channel in 0..3 {
                pixels.push((wave + step + channel * (20 + number)) as u8 / 2 + (v / 4) as u8);
            }
        }
    }
    RgbImage::new(width, height, pixels).unwrap()
}

fn text(hash: &PdqHash) -> String {
    hash.code.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the reference of ThreatExchange gives for these pictures, read from PPM files.
#[test]
fn hashes_are_those_of_the_reference() {
    for (width, height, number, quality, expected) in REFERENCE {
        let hash = hash(&drawn(width, height, number)).unwrap();
        let what = format!("{width} x {height}, {number}");
        assert_eq!(
            (text(&hash).as_str(), hash.quality),
            (expected, quality),
            "{what}"
        );
    }
}

/// Width, height and number of a picture, the quality and the hash that the reference gives it.
const REFERENCE: [(u32, u32, u32, u8, &str); 12] = [
    (
        5,
        5,
        1,
        88,
        "9b266e5b64d991a493a4c4f193a43b0e6c5b6e5b9b266e5b64d991a493a4c4f1",
    ),
    (
        5,
        300,
        2,
        100,
        "6b5a3b0e9b26c3f0c4f193e496a53c8f3c8d93a49b62c1f0c3f0c671c673c271",
    ),
    (
        63,
        65,
        3,
        100,
        "d8fdd9e0d1e2d32e971f961f967f9673967194703660bee0bee4b4003c203e00",
    ),
    (
        64,
        64,
        4,
        100,
        "d3c4d304d30c971fb63fb63fa67a86f4a6f4a6f0bce0fee0ac00bcc08ec00fc0",
    ),
    (
        100,
        80,
        5,
        100,
        "449c7dc740707f7fe21b9f14b212a3ffa73aac002cff04f8ade0adc0bdc0ac81",
    ),
    (
        129,
        257,
        6,
        100,
        "63ffdf3fdc0cb089a3ffa7c0a603a43cac7bacf3bce6ade00dc00dc00881ec81",
    ),
    (
        320,
        240,
        7,
        100,
        "d80ff9ffb3c0b78ea708a63eac7fac7facec2ce8ecc03cc00cc0aec0adc188c0",
    ),
    (
        511,
        512,
        8,
        100,
        "b3cfb380a700a63fa47fa47facfeeceaacf08cd02de06cc1fe81dc818c8189c1",
    ),
    (
        512,
        512,
        9,
        100,
        "a781a601a63bee7fee7feeffecf088f048f0fce07c81ec81e88188808d818de1",
    ),
    (
        513,
        100,
        10,
        100,
        "5571f7b80006ffffe00333e1e07167fbce4958280cff09f8cfc0ed80dfa08903",
    ),
    (
        640,
        480,
        11,
        100,
        "63ff9fe3b801a052e3fbef824e3acc7f4cfe5cfaddf09dc00dc089808900d980",
    ),
    (
        1000,
        1500,
        12,
        100,
        "b873b1f323a16733e6104c794cffccfe4df85de0ddc0cdc00986cf84cf84c904",
    ),
];

#[test]
fn a_hash_stands_for_what_is_seen() {
    let distance = |a: &PdqHash, b: &PdqHash| -> u32 {
        let pairs = a.code.iter().zip(&b.code);
        pairs.map(|(a, b)| (a ^ b).count_ones()).sum()
    };
    let original = hash(&drawn(640, 480, 3)).unwrap();
    let smaller = hash(&drawn(160, 120, 3)).unwrap();
    let other = hash(&drawn(640, 480, 4)).unwrap();
    assert!(distance(&original, &smaller) <= RADIUS);
    assert!(distance(&original, &other) > RADIUS);
}

#[test]
fn plain_surfaces_have_no_quality() {
    let plain = RgbImage::new(100, 80, vec![77; 100 * 80 * 3]).unwrap();
    assert_eq!(hash(&plain).unwrap().quality, 0);
}

#[test]
fn tiny_pictures_are_refused() {
    let refused = hash(&drawn(4, 300, 1)).unwrap_err();
    let (width, height, least) = (4, 300, 5);
    let expected = ImageError::TooSmall {
        width,
        height,
        least,
    };
    assert_eq!(refused, expected);
}

#[test]
fn an_encoder_gives_the_hash() {
    let picture = drawn(100, 80, 5);
    let hash = hash(&picture).unwrap();
    let prepared = Pdq.prepare(&picture).unwrap();
    assert_eq!(prepared.quality, Some(hash.quality));
    let mut code = [0; 32];
    Pdq.encode(&prepared.bytes, &mut code).unwrap();
    assert_eq!(code, hash.code);
    assert!(Pdq.encode(&prepared.bytes[1..], &mut code).is_err());
}
