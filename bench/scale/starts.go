package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/gti/gtm/bench/figures"
	"github.com/gti/gtm/bench/peers"
	"github.com/gti/gtm/bench/program"
	"github.com/gti/gtm/bench/scale/rig"
	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/embedded"
	"github.com/gti/gtm/pkg/store/state"
)

// started is what one start of an edge showed. Memory is resident memory in bytes.
type started struct {
	answer                time.Duration
	cpu                   time.Duration // of the process until then
	atAnswer, later, peak int64
	stirred, busy         int64 // after changes, and at most during them; 0: there were none
}

var startedHead = []string{"start", "first answer s", "CPU until then s", "MB then", "MB at most", "MB later",
	"MB at most during changes", "MB after them"}

func (s started) row(name string) []string {
	row := []string{name, figures.Number(s.answer.Seconds()), figures.Number(s.cpu.Seconds()), megabytes(s.atAnswer), megabytes(s.peak),
		megabytes(s.later)}
	if s.stirred > 0 {
		row = append(row, megabytes(s.busy), megabytes(s.stirred))
	}
	return row
}

// starter starts an edge again and again, in one data folder.
type starter struct {
	options
	size   rig.Mixed
	data   string
	etcd   string
	store  *store.Client // nil: there is none within reach
	settle time.Duration // when after the first answer, and after changes, memory is looked at again
}

// startsOf measures starts with a configuration of so many partitions, from a snapshot as a former run left it: without a store
// within reach, or with one of the same configuration, which then changes.
func startsOf(size rig.Mixed, partitions int, withStore bool, settle time.Duration) func(context.Context, options, *figures.Report) error {
	size.Partitions = partitions
	return func(ctx context.Context, o options, report *figures.Report) (err error) {
		dir, err := o.Folder("starts")
		if err != nil {
			return err
		}
		s := starter{options: o, size: size, data: filepath.Join(dir, "edge"), etcd: rig.NoStore, settle: settle}
		name := fmt.Sprintf("%d services, %d endpoints, %d partitions, ", size.Services, size.Pools*size.Endpoints, partitions)
		u, err := size.Update()
		if err != nil {
			return err
		}
		if withStore {
			child, err := embedded.Start(ctx, embedded.Config{Dir: filepath.Join(dir, "etcd"), Binary: o.Gtmd(), Args: []string{"etcd"}})
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, child.Stop()) }()
			s.etcd = child.Endpoint()
			if s.store, err = store.Open(ctx, store.Config{Endpoints: []string{s.etcd}}); err != nil {
				return err
			}
			defer s.store.Close()
			if err := s.fill(ctx, u); err != nil {
				return err
			}
			name += "with a store"
		} else if err := peers.WriteUpdate(s.data, *u); err != nil {
			return err
		} else {
			name += "without a store"
		}
		u = nil // the processes measured share the memory with this one
		report.Section("Starts: " + name)
		report.Text("Memory is resident memory, looked at again %s after the first answer; where there is a store, also as long after %d "+
			"changed verdicts and as many changed weights.", settle, o.changes)
		return s.measure(ctx, name, report)
	}
}

func (s starter) measure(ctx context.Context, name string, report *figures.Report) error {
	var all []started
	var rows [][]string
	for i := range s.starts {
		r, err := s.once(ctx, s.store != nil)
		if err != nil {
			return err
		}
		all, rows = append(all, r), append(rows, r.row(fmt.Sprint(i+1)))
		fmt.Println(name, rows[i])
	}
	slices.SortFunc(all, func(a, b started) int { return int(a.answer - b.answer) })
	report.Table(startedHead, append(rows, all[len(all)/2].row("the one in the middle")))
	return nil
}

// fill brings the configuration into the store, and has an edge leave its snapshot.
func (s starter) fill(ctx context.Context, u *state.Update) error {
	if err := rig.Put(ctx, s.store, rig.ResourcesOf(u), s.size.Endpoints); err != nil {
		return err
	}
	if err := s.judge(ctx, state.Verdicts.In(*u).Put); err != nil {
		return err
	}
	_, err := s.once(ctx, false)
	return err
}

// once starts the edge, asks until it answers, looks at its memory, makes changes where it is to, and ends it.
func (s starter) once(ctx context.Context, stir bool) (r started, err error) {
	edge, err := s.Start("", s.data, "--roles", "edge", "--etcd", s.etcd, "--id", "start")
	if err != nil {
		return r, err
	}
	defer edge.Stop()
	if r.answer, err = s.await(ctx, edge); err != nil {
		return r, err
	}
	if r.cpu, err = edge.OwnCPU(); err != nil {
		return r, err
	}
	if r.atAnswer, _, err = edge.Memory(); err != nil {
		return r, err
	}
	if s.store != nil {
		if err := awaitCurrent(ctx, edge); err != nil {
			return r, err
		}
	}
	if err := program.Rest(ctx, s.settle); err != nil {
		return r, err
	}
	if r.later, r.peak, err = edge.Memory(); err != nil || !stir {
		return r, err
	}
	if err := errors.Join(edge.ResetPeak(), s.stir(ctx), program.Rest(ctx, s.settle)); err != nil {
		return r, err
	}
	r.stirred, r.busy, err = edge.Memory()
	return r, err
}

// await asks for a service in the middle until the answer is of its pools.
func (s starter) await(ctx context.Context, edge *rig.Gtmd) (time.Duration, error) {
	q := new(dns.Msg).SetQuestion(s.size.HostName(s.size.Services/2), dns.TypeA)
	q.Extra = append(q.Extra, &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}, Option: []dns.EDNS0{
		&dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: 24, Address: net.IPv4(81, 2, 69, 0)}}})
	reply, after, err := edge.AwaitReply(ctx, q, time.Minute)
	if err != nil {
		return after, err
	}
	for _, rr := range reply.Answer {
		if a, ok := rr.(*dns.A); !ok || a.A.To4()[0] != 10 {
			return after, fmt.Errorf("%s is answered with %v, which is no endpoint's", q.Question[0].Name, rr)
		}
	}
	return after, nil
}

// awaitCurrent waits until the edge follows the store.
func awaitCurrent(ctx context.Context, edge *rig.Gtmd) error {
	return edge.Await(ctx, time.Minute, 20*time.Millisecond, func() error {
		var status api.EdgeStatus
		page, err := edge.Page("/edge/status")
		if err == nil {
			err = json.Unmarshal(page, &status)
		}
		if err == nil && status.Source.State != "current" {
			err = fmt.Errorf("its source is %s", status.Source.State)
		}
		return err
	})
}

// judge writes verdicts, as the elected prober does.
func (s starter) judge(ctx context.Context, verdicts []health.Verdict) error {
	resign, err := rig.Lead(ctx, s.store, time.Minute)
	if err != nil {
		return err
	}
	defer resign()
	return s.store.PutVerdicts(ctx, verdicts)
}

// stir makes changes: verdicts on so many pools, and as many times another weight.
func (s starter) stir(ctx context.Context) error {
	var verdicts []health.Verdict
	for i := range min(s.changes, s.size.Pools) {
		verdicts = append(verdicts, s.size.Verdict(i, int(time.Now().UnixNano())%s.size.Endpoints))
	}
	if err := s.judge(ctx, verdicts); err != nil {
		return err
	}
	tenant := rig.TenantName(0)
	state, err := s.store.Read(ctx, tenant, 0)
	if err != nil {
		return err
	}
	for i := range s.changes {
		v, ok := state.Resources.Get(spec.Key{Tenant: tenant, Kind: spec.KindPool, Name: rig.PoolName(i * s.size.Tenants % s.size.Pools)})
		if !ok {
			continue
		}
		p := *v.Resource.Spec.(*spec.Pool)
		p.Endpoints = slices.Clone(p.Endpoints)
		w := 1 + int(time.Now().UnixNano()%100)
		p.Endpoints[0].Weight = &w
		rec, err := s.store.Commit(ctx, store.Change{Tenant: tenant, Base: state.Head, Author: "bench", Time: time.Now(),
			Put: []*spec.Resource{{Key: v.Resource.Key, Spec: &p}}})
		if err != nil {
			return err
		}
		state.Head = rec.Generation
	}
	return nil
}
