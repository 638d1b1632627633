//! Numbers as hexadecimal digits, lower case: ids of records, and ETags that are stored as numbers.

/// The 32 digits of a number, in four pieces.
#[inline(always)]
pub fn pieces(number: u128) -> [[u8; 8]; 4] {
    [96, 64, 32, 0].map(|shift| digits((number >> shift) as u32))
}

/// The pieces one after the other.
pub fn joined(pieces: [[u8; 8]; 4]) -> [u8; 32] {
    let mut digits = [0; 32];
    digits.as_chunks_mut().0.copy_from_slice(&pieces);
    digits
}

/// The digits of a number, all eight worked out at once.
#[inline(always)]
fn digits(number: u32) -> [u8; 8] {
    let each = |byte: u8| u64::from_le_bytes([byte; 8]);
    // a digit in each byte, the first one highest
    let mut digits = u64::from(number);
    digits = (digits | digits << 16) & 0x0000_ffff_0000_ffff;
    digits = (digits | digits << 8) & 0x00ff_00ff_00ff_00ff;
    digits = (digits | digits << 4) & each(0x0f);
    let letters = (digits + each(6)) >> 4 & each(1);
    (digits + each(b'0') + letters * u64::from(b'a' - b'0' - 10)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_those_of_the_standard_library() {
        for number in
            (0..128).map(|bit| 1 << bit).chain([0, u128::MAX, 0x0123_4567_89ab_cdef << 64, 0xa000_000a])
        {
            let digits = String::from_utf8(joined(pieces(number)).to_vec()).unwrap();
            assert_eq!(digits, format!("{number:032x}"));
        }
    }
}
