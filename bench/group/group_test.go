package group

import (
	"math"
	"syscall"
	"testing"
)

// The group of this test has computed, and holds memory; one that cannot exist is an error, not a cheap server.
func TestGroup(t *testing.T) {
	own := syscall.Getpgrp()
	computed, err := CPU(own)
	if err != nil || computed <= 0 {
		t.Errorf("computed %v: %v", computed, err)
	}
	megabytes, err := Memory(own)
	if err != nil || megabytes < 1 {
		t.Errorf("memory %v: %v", megabytes, err)
	}
	if _, err := CPU(math.MaxInt32); err == nil {
		t.Error("a group that is not there has computed")
	}
}
