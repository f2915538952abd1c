//! Whole meshes of replication engines in virtual time: everything that a seed decides, it decides again.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test looks at what it is about"
)]

#[cfg(test)]
mod chaos;
#[cfg(test)]
mod claims;
#[cfg(test)]
mod disk;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod load;
#[cfg(test)]
mod sim;
