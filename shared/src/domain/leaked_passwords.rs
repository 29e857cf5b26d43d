//! Passwords from data leaks (ASVS 5.0, 6.2.12; NIST SP 800-63B-4, 3.1.1.2), as a filter that fits into memory: 18 bits
//! for each password. It finds every password on the list, and takes one in 65,536 others for one of them.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use xorf::{BinaryFuse16, BinaryFuse16Ref, DmaSerializable, Filter, FilterRef};

/// The first bytes of a file: its format.
const FORMAT: &[u8; 16] = b"gatehouse-leaked";
const DESCRIPTOR: usize = BinaryFuse16::DESCRIPTOR_LEN;
const CHECKSUM: usize = 32;

/// A filter of passwords from data leaks.
pub struct LeakedPasswords {
    descriptor: [u8; DESCRIPTOR],
    fingerprints: Box<[u16]>,
}

/// A password in the filter: the first eight bytes of its SHA-1, the hash in which such lists are published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(u64);

impl Key {
    /// Returns the key of a password: of its bytes in UTF-8, in NFC.
    pub fn of(password: &[u8]) -> Self {
        Self::of_hash(digest(&SHA1_FOR_LEGACY_USE_ONLY, password).as_ref()).unwrap_or(Self(0))
    }

    /// Returns the key of a SHA-1 hash; `None` for other lengths.
    pub fn of_hash(sha1: &[u8]) -> Option<Self> {
        let (first, rest) = sha1.split_first_chunk()?;
        (rest.len() == 12).then(|| Self(u64::from_be_bytes(*first)))
    }
}

impl LeakedPasswords {
    /// Makes the file of a filter: format, SHA-256 of the rest, descriptor, fingerprints (little-endian).
    ///
    /// # Errors
    /// A message, if the filter cannot be made.
    pub fn file(mut keys: Vec<Key>) -> Result<Vec<u8>, &'static str> {
        keys.sort_unstable();
        keys.dedup();
        let filter = BinaryFuse16::try_from_iterator(keys.iter().map(|key| key.0))?;
        let mut content = vec![0; DESCRIPTOR];
        filter.dma_copy_descriptor_to(&mut content);
        content.extend(
            filter
                .fingerprints
                .iter()
                .flat_map(|print| print.to_le_bytes()),
        );
        let checksum = digest(&SHA256, &content);
        Ok([FORMAT, checksum.as_ref(), &content].concat())
    }

    /// Reads such a file; `None` if it is another one, or damaged.
    pub fn read(file: &[u8]) -> Option<Self> {
        let rest = file.strip_prefix(FORMAT)?;
        let (checksum, content) = rest.split_at_checked(CHECKSUM)?;
        if digest(&SHA256, content).as_ref() != checksum {
            return None;
        }
        let (descriptor, fingerprints) = content.split_first_chunk()?;
        let (fingerprints, rest) = fingerprints.as_chunks();
        rest.is_empty().then(|| Self {
            descriptor: *descriptor,
            fingerprints: fingerprints
                .iter()
                .map(|print| u16::from_le_bytes(*print))
                .collect(),
        })
    }

    /// Returns whether a password is on the list; wrongly for one password in 65,536.
    pub fn contains(&self, password: &[u8]) -> bool {
        let fingerprints = bytemuck::cast_slice(&self.fingerprints);
        let filter = BinaryFuse16Ref::from_dma(&self.descriptor, fingerprints);
        filter.contains(&Key::of(password).0)
    }
}

impl std::fmt::Debug for LeakedPasswords {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "LeakedPasswords({})", self.fingerprints.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(number: usize) -> Vec<u8> {
        format!("Correct-{number}-horse").into_bytes()
    }

    #[test]
    fn every_password_of_the_list_is_found_and_hardly_another() {
        let listed = (0..20_000).map(|number| Key::of(&numbered(number)));
        let file = LeakedPasswords::file(listed.collect()).unwrap();
        let leaked = LeakedPasswords::read(&file).unwrap();

        assert!((0..20_000).all(|number| leaked.contains(&numbered(number))));
        let wrong = (20_000..220_000).filter(|number| leaked.contains(&numbered(*number)));
        let wrong = wrong.count();
        assert!(wrong < 20, "{wrong} of 200,000; three are expected");
        assert!(file.len() < 20_000 * 3, "{}", file.len());
    }

    #[test]
    fn a_password_has_the_key_of_its_published_hash() {
        let hash = hex::decode("5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8").unwrap();
        assert_eq!(Key::of_hash(&hash), Some(Key::of(b"password")));
        assert_eq!(Key::of_hash(&hash[1..]), None);
    }

    #[test]
    fn small_lists_and_repeated_entries_are_possible() {
        for keys in [vec![], vec![Key(1)], vec![Key(1), Key(2), Key(1)]] {
            let number = keys.len();
            let file =
                LeakedPasswords::file(keys).unwrap_or_else(|error| panic!("{number}: {error}"));
            assert!(LeakedPasswords::read(&file).is_some());
        }
    }

    #[test]
    fn a_damaged_file_is_refused() {
        let file = LeakedPasswords::file(vec![Key(1), Key(2)]).unwrap();
        for at in 0..file.len() {
            let mut damaged = file.clone();
            damaged[at] ^= 1;
            assert!(LeakedPasswords::read(&damaged).is_none(), "{at}");
            assert!(LeakedPasswords::read(&file[..at]).is_none(), "{at}");
        }
    }
}
