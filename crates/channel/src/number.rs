//! Messages that are a number and nothing else: the most frequent ones of all, so their bytes are made and read here, and not
//! by the codec, which has a function for each kind of value.

/// Kind of a message of 4 bytes, little endian: as `Kind.Int32` of the codec.
pub const INT32: u8 = 4;
/// Kind of a message of 8 bytes, little endian: as `Kind.Float64` of the codec.
pub const FLOAT64: u8 = 5;

/// A number as a message.
///
/// # Examples
/// ```
/// use polyproc_channel::number::{self, INT32, Sealed};
/// let sealed = Sealed::new(-2.0);
/// assert_eq!((sealed.kind, sealed.bytes()), (INT32, &(-2i32).to_le_bytes()[..]));
/// assert_eq!(number::read(sealed.kind, sealed.bytes()), Some(-2.0));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Sealed {
    /// [`INT32`] where that is as good, else [`FLOAT64`].
    pub kind: u8,
    bytes: [u8; 8],
}

impl Sealed {
    /// Makes a message of a number.
    #[must_use]
    #[inline]
    pub fn new(value: f64) -> Self {
        let whole = value as i32;
        // -0 is no whole number.
        if f64::from(whole).to_bits() == value.to_bits() {
            let mut bytes = [0; 8];
            bytes[..4].copy_from_slice(&whole.to_le_bytes());
            return Self { kind: INT32, bytes };
        }
        Self {
            kind: FLOAT64,
            bytes: value.to_le_bytes(),
        }
    }

    /// Its bytes.
    #[must_use]
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..if self.kind == INT32 { 4 } else { 8 }]
    }
}

/// The number that a message is; `None` if it is none.
#[must_use]
#[inline]
pub fn read(kind: u8, bytes: &[u8]) -> Option<f64> {
    match kind {
        INT32 => bytes.try_into().ok().map(i32::from_le_bytes).map(f64::from),
        FLOAT64 => bytes.try_into().ok().map(f64::from_le_bytes),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_comes_back_bit_for_bit() {
        let whole = [0.0, 1.0, -1.0, f64::from(i32::MAX), f64::from(i32::MIN)];
        let others = [
            -0.0,
            0.5,
            2_147_483_648.0,
            -2_147_483_649.0,
            1e300,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
        ];
        for (kind, value) in whole
            .map(|value| (INT32, value))
            .into_iter()
            .chain(others.map(|value| (FLOAT64, value)))
        {
            let sealed = Sealed::new(value);
            assert_eq!(sealed.kind, kind, "{value}");
            assert_eq!(
                read(kind, sealed.bytes()).map(f64::to_bits),
                Some(value.to_bits()),
                "{value}"
            );
        }
    }

    #[test]
    fn what_is_no_number_is_not_read() {
        assert_eq!(read(INT32, &[0; 8]), None);
        assert_eq!(read(FLOAT64, &[0; 4]), None);
        assert_eq!(read(6, &[0; 4]), None);
    }
}
