//go:build race

package sut

// Race tells whether the tests run under the race detector, which makes everything several times slower.
const Race = true
