//! Positions, partitions, replica sets and move plans for the Meshwork data mesh.
