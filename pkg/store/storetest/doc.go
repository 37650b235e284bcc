// Package storetest is what the tests of the store's packages share: resources, verdicts and keysets, random updates, a log. For tests
// alone.
package storetest
