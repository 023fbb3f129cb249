//! One-time codes: RFC 6238 with SHA-1, six digits, steps of 30 seconds, one step of tolerance either way.
//!
//! A step is used once: the caller keeps the last one used and codes of it or before it are refused.

use aws_lc_rs::hmac;
use data_encoding::BASE32_NOPAD;
use model::{ClusterName, Secret, Timestamp, UserName};
use qrcode::QrCode;
use qrcode::render::svg;
use subtle::ConstantTimeEq;

const STEP: i64 = 30;
const TOLERANCE: i64 = 1;

/// The shared secret: 160 bits, as RFC 4226 asks.
pub(crate) type Key = [u8; 20];

/// The code of one step.
pub(crate) fn code(key: &[u8], step: i64) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let mac = tag.as_ref();
    let offset = usize::from(mac.last().copied().unwrap_or(0) & 0x0f);
    let word = mac.get(offset..offset + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_be_bytes);
    format!("{:06}", (word & 0x7fff_ffff) % 1_000_000)
}

/// The step `now` is in.
pub(crate) fn step_at(now: Timestamp) -> i64 {
    now.secs().div_euclid(STEP)
}

/// The step a given code belongs to, if it is right now and newer than `last_used`. Looks at every step it may be.
pub(crate) fn check(key: &[u8], given: &str, now: Timestamp, last_used: i64) -> Option<i64> {
    let current = step_at(now);
    let mut found = None;
    for step in (current - TOLERANCE)..=(current + TOLERANCE) {
        let right = bool::from(code(key, step).as_bytes().ct_eq(given.as_bytes()));
        if right && step > last_used {
            found = Some(step);
        }
    }
    found
}

/// The URI authenticator apps read.
pub(crate) fn uri(key: &Key, cluster: &ClusterName, user: &UserName) -> Secret {
    let secret = BASE32_NOPAD.encode(key);
    // Names hold no character that needs escaping but `@` and `+`.
    let user = user.as_str().replace('@', "%40").replace('+', "%2B");
    Secret::new(format!(
        "otpauth://totp/{cluster}:{user}?secret={secret}&issuer={cluster}&algorithm=SHA1&digits=6&period=30"
    ))
}

/// The same as a picture.
pub(crate) fn picture(uri: &Secret) -> Option<Secret> {
    let code = QrCode::new(uri.expose().as_bytes()).ok()?;
    Some(Secret::new(code.render::<svg::Color<'_>>().min_dimensions(240, 240).build()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"12345678901234567890";

    #[test]
    fn codes_are_those_of_rfc_6238() {
        for (secs, expected) in
            [(59, "287082"), (1_111_111_109, "081804"), (1_234_567_890, "005924"), (20_000_000_000, "353130")]
        {
            assert_eq!(code(KEY, step_at(Timestamp::from_secs(secs))), expected);
        }
    }

    #[test]
    fn a_code_is_good_for_one_step_either_way_and_once() {
        let now = Timestamp::from_secs(600);
        let given = code(KEY, 20);

        assert_eq!(check(KEY, &given, now, 0), Some(20));
        assert_eq!(check(KEY, &given, Timestamp::from_secs(630), 0), Some(20));
        assert_eq!(check(KEY, &given, Timestamp::from_secs(660), 0), None);
        assert_eq!(check(KEY, &given, now, 20), None);
        assert_eq!(check(KEY, "", now, 0), None);
        assert_eq!(check(KEY, "28708", now, 0), None);
    }

    #[test]
    fn the_picture_is_one() {
        let uri = uri(&[7; 20], &"gate".parse().unwrap(), &"ann@x.org".parse().unwrap());

        assert!(uri.expose().starts_with("otpauth://totp/gate:ann%40x.org?secret="));
        assert!(picture(&uri).unwrap().expose().contains("<svg"));
    }
}
