//go:build interop

package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/gti/gtm/cmd/gtmd/interop/rig"
)

const (
	seedEnv = "CHAOS_SEED"
	forEnv  = "CHAOS_FOR"
	// roundTime is after how long all troubles end and everything is judged.
	roundTime = 2 * time.Minute
	// troubledBound is healthBound while members, probers and edges come and go: an election, and what it takes to give a
	// silent connection up, come on top.
	troubledBound = 40 * time.Second
	// lateBound is when a change must be acknowledged: one member may be silent, and one control.
	lateBound = 60 * time.Second
)

// A storm is one randomized run: what goes wrong is chosen by the seed, and the same in each run of it.
type storm struct {
	t       *testing.T
	rig     *rig.Rig
	load    *load
	writers []*writer
	began   time.Time

	// whole is held by what needs everything but itself to be well; all other troubles hold it for reading.
	whole    sync.RWMutex
	snapshot string // "": none was saved in this round

	mu   sync.Mutex
	done map[string]int
}

// The randomized form: troubles of a seed, under a load that judges every answer, writers that remember every
// acknowledgement, and readers. After each round everything is well again, all edges must answer what the store holds,
// and what was written and read must fit together.
func TestRandom(t *testing.T) {
	seed, total := uint64(1), roundTime
	var err error
	if s := os.Getenv(seedEnv); s != "" {
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("%s: %v", seedEnv, err)
		}
	}
	if s := os.Getenv(forEnv); s != "" {
		if total, err = time.ParseDuration(s); err != nil {
			t.Fatalf("%s: %v", forEnv, err)
		}
	}
	r := rig.New(t, rig.Whole, world())
	s := &storm{t: t, rig: r, began: time.Now(), done: map[string]int{}}
	for i, tenant := range writerTenants {
		w := newWriter(r, tenant)
		w.turn = i
		s.writers = append(s.writers, w)
	}
	s.load = startLoad(r, s.writers...)
	s.load.bound = troubledBound
	for ; total > 0 && !t.Failed(); total -= roundTime {
		s.say("round of seed %d", seed)
		s.round(seed, min(total, roundTime))
		seed++
	}
	t.Logf("done: %v", s.done)
}

func (s *storm) say(format string, args ...any) {
	s.t.Helper()
	s.t.Logf("%6.1fs %s", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
}

// round lets troubles come for a time, ends them all, and judges.
func (s *storm) round(seed uint64, length time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), length)
	defer cancel()
	s.snapshot = ""
	var g sync.WaitGroup
	for i, monkey := range []func(context.Context, *rand.Rand){s.members, s.roles, s.endpoints} {
		g.Go(func() { monkey(ctx, rand.New(rand.NewPCG(seed, uint64(i)))) })
	}
	writing, stopWriting := context.WithCancel(context.Background())
	var work sync.WaitGroup
	for _, w := range s.writers {
		work.Go(func() { every(writing, 200*time.Millisecond, func() { _ = w.write(writing) }) })
		work.Go(func() { every(writing, 500*time.Millisecond, func() { _ = w.read(writing) }) })
	}
	g.Wait()
	stopWriting()
	work.Wait()
	s.judge()
}

// judge is called when all troubles are over.
func (s *storm) judge() {
	s.rig.Targets.Heal(mainA, mainB, backup)
	s.rig.WaitMembers()
	agree(s.t, s.rig)
	wellAgain(s.t, s.rig)
	s.rig.Gtmctl("wait", "--all", "--timeout", "1m")
	healthMoves(s.t, s.rig)
	for _, w := range s.writers {
		w.checkNothingLost(s.t)
		w.checkRegisters(s.t)
		if w.slowest > lateBound {
			s.t.Errorf("late: a change of %s took %v", w.tenant, w.slowest)
		}
	}
	asked, faults := s.load.told()
	s.say("%d queries, of which wrong: %v", asked, faults)
	if len(faults) > 0 {
		s.t.Fail()
	}
}

// every does something again and again until the context ends.
func every(ctx context.Context, pause time.Duration, do func()) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for ctx.Err() == nil {
		do()
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// A trouble begins and ends.
type trouble struct {
	name       string
	begin, end func()
}

// sometimes picks troubles until the context ends, and holds each for a while. How often one is picked is as often as it stands there.
func (s *storm) sometimes(ctx context.Context, random *rand.Rand, pick func() trouble) {
	for ctx.Err() == nil {
		trouble, length, pause := pick(), upTo(random, 6*time.Second), upTo(random, 4*time.Second)
		wait(ctx, pause)
		if ctx.Err() != nil {
			return
		}
		s.suffer(ctx, trouble, length)
	}
}

// suffer begins a trouble, and ends it after a time.
func (s *storm) suffer(ctx context.Context, trouble trouble, length time.Duration) {
	s.t.Helper()
	s.whole.RLock()
	defer s.whole.RUnlock()
	s.note(trouble.name)
	trouble.begin()
	if trouble.end != nil {
		wait(ctx, length)
		trouble.end()
		s.say("end of %s", trouble.name)
	}
}

func upTo(random *rand.Rand, most time.Duration) time.Duration {
	return time.Duration(random.Int64N(int64(most)))
}

func (s *storm) note(name string) {
	s.t.Helper()
	s.say("%s", name)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done[name]++
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// nodeTrouble is what can befall a node.
func (s *storm) nodeTrouble(n *rig.Node, kind int) trouble {
	switch kind {
	case 0:
		return trouble{"kill " + n.Name, n.Kill, func() { n.Start(); s.back(n) }}
	case 1:
		return trouble{"freeze " + n.Name, n.Freeze, n.Thaw}
	default:
		return trouble{"cut " + n.Name, n.Cut, n.Heal}
	}
}

// back waits until a node that was started is ready.
func (s *storm) back(n *rig.Node) {
	for _, member := range s.rig.Members {
		if member == n {
			s.rig.WaitMembers()
			n.Ready()
			return
		}
	}
	s.rig.WaitReady(n)
}

// members troubles one member of etcd at a time, and the store as a whole. A backup is saved early in each round, and restored late.
func (s *storm) members(ctx context.Context, random *rand.Rand) {
	turn := 0
	s.sometimes(ctx, random, func() trouble {
		n, kind := s.rig.Members[random.IntN(len(s.rig.Members))], random.IntN(12)
		turn++
		switch {
		case turn == 3:
			return trouble{"save the store", s.save, nil}
		case turn == 9:
			return trouble{"restore the store", s.restore, nil}
		case kind >= 10:
			return trouble{"compact", s.compact, nil}
		case kind == 9:
			return trouble{"write the epoch anew", s.sameEpoch, nil}
		}
		return s.nodeTrouble(n, kind%3)
	})
}

func (s *storm) sameEpoch() {
	if epoch := s.rig.Get("config/epoch"); epoch != "" {
		s.rig.Put("config/epoch", epoch)
	}
}

// roles troubles one edge, control or prober at a time.
func (s *storm) roles(ctx context.Context, random *rand.Rand) {
	var nodes []*rig.Node
	for _, some := range [][]*rig.Node{s.rig.Controls, s.rig.Edges, s.rig.Edges, s.rig.Probers} {
		nodes = append(nodes, some...)
	}
	s.sometimes(ctx, random, func() trouble { return s.nodeTrouble(nodes[random.IntN(len(nodes))], random.IntN(3)) })
}

// endpoints lets endpoints fail, long enough for all edges to hear it.
func (s *storm) endpoints(ctx context.Context, random *rand.Rand) {
	sets := [][]netip.Addr{{mainA}, {mainB}, {mainA, mainB}, {backup}}
	random.Shuffle(len(sets), func(i, j int) { sets[i], sets[j] = sets[j], sets[i] })
	for i := 0; ctx.Err() == nil; i++ {
		set := sets[i%len(sets)]
		s.note(fmt.Sprintf("endpoints %v fail", set))
		s.rig.Targets.Fail(set...)
		wait(ctx, troubledBound+10*time.Second)
		s.rig.Targets.Heal(set...)
		s.say("endpoints %v are well", set)
		wait(ctx, upTo(random, 10*time.Second))
	}
}

func (s *storm) compact() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, _ = s.rig.Etcd.Compact(ctx, s.rig.Revision()) // what was compacted already is an error
}

// save saves the store; the other troubles go on.
func (s *storm) save() {
	began := now()
	s.snapshot = s.rig.SaveSnapshot("storm.snap")
	for _, w := range s.writers {
		w.keeps(opSave, began)
	}
}

// restore puts the saved store in place of what there is, and accepts it. All else is well meanwhile, as an operator sees to that.
func (s *storm) restore() {
	s.whole.RUnlock() // held by suffer
	s.whole.Lock()
	defer func() { s.whole.Unlock(); s.whole.RLock() }()
	if s.snapshot == "" {
		return
	}
	s.load.followHealth(false)
	began := now()
	s.rig.Restore(s.snapshot, "")
	for _, w := range s.writers {
		w.keeps(opRestore, began)
		w.forget(headOf(s.t, s.rig, w.tenant))
	}
	s.load.newEra()
	s.rig.Gtmctl("store", "accept")
	s.load.followHealth(true)
}
