//go:build interop

package chaos

import (
	"context"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/gti/gtm/pkg/spec"
)

// A register is what porcupine sees of a pool: changes write it and reads of the store read it. A backup keeps what it
// holds, and a restore puts that back: what was acknowledged in between is gone then, and nothing else ever is.
type register struct {
	op    op
	value int
}

type op int

const (
	opWrite op = iota
	opRead
	opSave
	opRestore
)

// held is a register's state.
type held struct{ now, saved int }

var registerModel = porcupine.Model{
	Init: func() any { return held{} },
	Step: func(state, input, output any) (bool, any) {
		h, in := state.(held), input.(register)
		switch in.op {
		case opWrite:
			h.now = in.value
		case opRead:
			return output.(int) == h.now, h
		case opSave:
			h.saved = h.now
		case opRestore:
			h.now = h.saved
		}
		return true, h
	},
	Equal: func(a, b any) bool { return a.(held) == b.(held) },
	DescribeOperation: func(input, output any) string {
		in := input.(register)
		return fmt.Sprintf("%s %d: %v", []string{"write", "read", "save", "restore"}[in.op], in.value, output)
	},
}

// forEver is when an operation of unknown outcome ends.
const forEver = math.MaxInt64

var start = time.Now()

func now() int64 { return int64(time.Since(start)) }

// Clients of a register, as porcupine counts them: each does one thing at a time.
const (
	clientWriter = iota
	clientReader
	clientKeeper // of backups
)

// did remembers what was done with a pool; end 0: it ended now.
func (w *writer) did(pool string, in register, began, end int64) {
	client := clientWriter
	switch in.op {
	case opRead:
		client = clientReader
	case opSave, opRestore:
		client = clientKeeper
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if end == 0 {
		end = now()
		if in.op == opWrite {
			w.slowest = max(w.slowest, time.Duration(end-began))
		}
	}
	w.ops[pool] = append(w.ops[pool], porcupine.Operation{ClientId: client, Input: in, Call: began, Output: in.value, Return: end})
}

// read looks the pools up in the store, all at one revision.
func (w *writer) read(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	began := now()
	state, err := w.store.Read(ctx, w.tenant, 0)
	if err != nil {
		return err
	}
	for key, version := range state.Resources.All() {
		if pool, ok := version.Resource.Spec.(*spec.Pool); ok {
			w.did(key.Name, register{op: opRead, value: changeOf(pool.Endpoints[0].Addresses[0])}, began, 0)
		}
	}
	return nil
}

// keeps remembers that a backup was saved, or restored, of all pools.
func (w *writer) keeps(op op, began int64) {
	for _, pool := range writerPools {
		w.did(pool, register{op: op}, began, 0)
	}
}

// checkRegisters judges what was done with each pool, and begins anew with what it holds. Nothing may be going on.
func (w *writer) checkRegisters(t testing.TB) {
	t.Helper()
	for _, pool := range writerPools {
		ops := w.ops[pool]
		result := porcupine.CheckOperationsTimeout(registerModel, ops, time.Minute)
		t.Logf("%s/%s: %d operations: %s", w.tenant, pool, len(ops), result)
		if result != porcupine.Ok {
			t.Errorf("what was done with %s/%s and what was read of it does not fit together: %s; the last operations: %v", w.tenant,
				pool, result, ops[max(0, len(ops)-20):])
		}
	}
	w.ops = map[string][]porcupine.Operation{}
	for pool, addr := range stored(t, w.rig, w.tenant) {
		w.did(pool, register{op: opWrite, value: changeOf(addr)}, now(), 0)
	}
}

// The model itself: what it must take, and what it must not.
func TestRegisterModel(t *testing.T) {
	write := func(v int, call, end int64) porcupine.Operation {
		return porcupine.Operation{ClientId: clientWriter, Input: register{opWrite, v}, Output: v, Call: call, Return: end}
	}
	read := func(v int, call, end int64) porcupine.Operation {
		return porcupine.Operation{ClientId: clientReader, Input: register{opRead, v}, Output: v, Call: call, Return: end}
	}
	keep := func(o op, call, end int64) porcupine.Operation {
		return porcupine.Operation{ClientId: clientKeeper, Input: register{o, 0}, Output: 0, Call: call, Return: end}
	}
	for _, c := range []struct {
		name string
		ok   bool
		ops  []porcupine.Operation
	}{
		{"in order", true, []porcupine.Operation{write(1, 0, 1), read(1, 2, 3), write(2, 4, 5), read(2, 6, 7)}},
		{"lost", false, []porcupine.Operation{write(1, 0, 1), write(2, 2, 3), read(1, 4, 5)}},
		{"of unknown outcome", true, []porcupine.Operation{write(1, 0, 1), write(2, 2, forEver), read(1, 4, 5), read(2, 6, 7)}},
		{"restored", true, []porcupine.Operation{write(1, 0, 1), keep(opSave, 2, 3), write(2, 4, 5), keep(opRestore, 6, 7), read(1, 8, 9)}},
		{"lost before the backup", false, []porcupine.Operation{write(1, 0, 1), write(2, 2, 3), keep(opSave, 4, 5),
			keep(opRestore, 6, 7), read(1, 8, 9)}},
	} {
		if got := porcupine.CheckOperations(registerModel, c.ops); got != c.ok {
			t.Errorf("%s: %v, want %v", c.name, got, c.ok)
		}
	}
}
