package answer

import (
	"math"
	"sync/atomic"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/table"
)

// Sample is one query, which stands for so many.
type Sample struct {
	Tenant, Service string // empty: it was not answered from a service
	Client          table.Net
	Queries         uint64
}

// Samples is where Answerers put samples of their queries: of those between two calls of Flush, the last is looked at, and this once in
// Every queries, roughly. Where nobody takes them away, the next ones are lost, and counted. Safe for concurrent use.
type Samples struct {
	taken chan Sample
	every atomic.Uint32
	lost  atomic.Uint64
}

// NewSamples makes one with room for so many.
func NewSamples(room int) *Samples {
	s := &Samples{taken: make(chan Sample, room)}
	s.every.Store(1)
	return s
}

// Every sets how many queries a sample is to stand for; where batches are larger, it stands for the batch.
func (s *Samples) Every(n uint32) { s.every.Store(max(n, 1)) }

// Take gives what is there, without waiting, and how many queries the samples stood for that were lost since the last call.
func (s *Samples) Take(each func(Sample)) (lost uint64) {
	for range cap(s.taken) { // no more, so that it ends
		select {
		case sample := <-s.taken:
			each(sample)
			continue
		default:
		}
		break
	}
	return s.lost.Swap(0)
}

func (s *Samples) put(sample Sample) {
	select {
	case s.taken <- sample:
	default:
		s.lost.Add(sample.Queries)
	}
}

// never is after how many queries an Answerer takes a sample that is to take none.
const never = math.MaxUint64

// Flush publishes what was counted since the last Flush, and takes a sample if it is time. Call it after each batch.
func (a *Answerer) Flush() {
	a.counts.flush()
	if a.counts.asked >= a.sampleAt {
		a.sample()
	}
}

// sample takes the last query as a sample of those since the last one. It comes after a number of queries drawn anew each time, so that
// what clients ask for in turn is not taken by that.
func (a *Answerer) sample() {
	s := Sample{Queries: a.counts.asked}
	if from := a.sampled(); from != nil {
		s.Tenant, s.Service, s.Client = from.Tenant, from.Name, a.client.Resolver
		if a.client.Has {
			s.Client = a.client.Subnet
		}
	}
	a.cfg.Samples.put(s)
	every := uint64(a.cfg.Samples.every.Load())
	a.counts.asked, a.sampleAt = 0, 1+a.lots.next()%(2*every-1)
}

// sampled gives the service that the last query was answered from; nil: there is none. Most stand at the name that was asked for; others
// were led to by a CNAME, on the long way.
func (a *Answerer) sampled() *table.Service {
	if a.parsedQuery == nil || a.view == nil || a.parsed != dnswire.Answer || a.q.QClass != dnswire.ClassIN {
		return nil
	}
	if z := a.view.Find(&a.q, &a.hashes); z != nil && !z.Void {
		if s := a.view.Service(z.Lookup(&a.q, &a.hashes)); s != nil {
			if _, ok := s.FamilyOf(a.q.QType); ok {
				return s
			}
			return nil
		}
	}
	return a.led
}
