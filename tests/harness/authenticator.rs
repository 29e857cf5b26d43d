//! An authenticator app, implemented independently of the code under test.

use std::time::{Duration, SystemTime};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::{Answer, World};

/// An app with one account.
pub struct Authenticator {
    secret: Vec<u8>,
    /// The device's id.
    pub device: String,
    last_step: u64,
}

/// Returns the current time step.
pub fn step() -> u64 {
    let since_epoch = SystemTime::UNIX_EPOCH.elapsed().expect("a clock");
    since_epoch.as_secs() / 30
}

impl Authenticator {
    /// Scans the QR code of a setup's answer.
    pub fn scan(setup: &Answer) -> Self {
        let url = decode_qr_code(&setup.text("qrCodeUrl"));
        assert_eq!(url, setup.text("otpauthUrl"));
        assert!(
            url.contains(&format!("?secret={}&", setup.text("secret"))),
            "{url}"
        );
        Self {
            device: setup.text("deviceId"),
            ..Self::from_url(&url)
        }
    }

    /// Reads an `otpauth:` URL.
    pub fn from_url(url: &str) -> Self {
        let (_, secret) = url.split_once("secret=").expect("a secret");
        Self {
            secret: base32(secret.split('&').next().unwrap_or_default()),
            device: String::new(),
            last_step: 0,
        }
    }

    /// Returns the number of bits of the secret.
    pub fn secret_bits(&self) -> usize {
        self.secret.len() * 8
    }

    /// Returns the code of a time step.
    pub fn code(&self, step: u64) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &self.secret);
        let tag = hmac::sign(&key, &step.to_be_bytes());
        let tag = tag.as_ref();
        let offset = usize::from(tag[19] & 15);
        let number = u32::from_be_bytes(tag[offset..offset + 4].try_into().unwrap());
        format!("{:06}", (number & 0x7fff_ffff) % 1_000_000)
    }

    /// Returns the code that was used last.
    pub fn last(&self) -> String {
        self.code(self.last_step)
    }

    /// Returns an unused code of the current or the next step; waits if both codes were used.
    pub async fn next(&mut self) -> String {
        self.last_step = step().max(self.last_step + 1);
        while self.last_step > step() + 1 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.code(self.last_step)
    }

    /// Makes used codes valid again, so that a test need not wait.
    pub async fn forget(&mut self, world: &World, user: &str) {
        let (dynamodb, sort_key) = (world.dynamodb(), format!("DEVICE#{}", self.device));
        self.last_step = step() - 1;
        let value = json!({ "N": self.last_step.to_string() });
        let table = dynamodb.credentials.clone();
        let key = format!("TOTP#{user}");
        dynamodb
            .set(&table, &key, &sort_key, "last_used_step", value)
            .await;
    }
}

/// Decodes base32 (RFC 4648, 6).
fn base32(text: &str) -> Vec<u8> {
    let value = |c: u8| match c {
        b'A'..=b'Z' => c - b'A',
        b'2'..=b'7' => c - b'2' + 26,
        _ => panic!("not base32"),
    };
    let bits: Vec<u8> = text
        .bytes()
        .map(value)
        .flat_map(|value| (0..5).rev().map(move |bit| value >> bit & 1))
        .collect();
    let bytes = bits.chunks_exact(8);
    bytes
        .map(|bits| bits.iter().fold(0, |byte, bit| byte << 1 | bit))
        .collect()
}

/// Decodes the QR code in a `data:` URL of a PNG image, with an independent library.
pub fn decode_qr_code(data_url: &str) -> String {
    let base64 = data_url
        .strip_prefix("data:image/png;base64,")
        .expect("a PNG");
    let png = STANDARD.decode(base64).expect("base64");
    let mut decoder = png::Decoder::new(std::io::Cursor::new(png));
    decoder.set_transformations(png::Transformations::EXPAND | png::Transformations::STRIP_16);
    let mut reader = decoder.read_info().expect("an image");
    let mut pixels = vec![0; reader.output_buffer_size().expect("a size")];
    let frame = reader.next_frame(&mut pixels).expect("a frame");
    let samples = frame.color_type.samples();
    let (width, height) = (frame.width as usize, frame.height as usize);
    let grey = |x: usize, y: usize| pixels[(y * width + x) * samples];
    let mut image = rqrr::PreparedImage::prepare_from_greyscale(width, height, grey);
    let grids = image.detect_grids();
    let (_, text) = grids
        .first()
        .expect("a QR code")
        .decode()
        .expect("readable");
    text
}
