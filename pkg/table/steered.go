package table

import (
	"maps"
	"sync"
	"sync/atomic"

	"github.com/gti/gtm/pkg/prefetch"
)

// steeredSigs are the signatures of a service's alternative sets. They outlive changes of health and of the service, as long as
// host, TTL and keys stay.
type steeredSigs struct {
	known  atomic.Pointer[sigTable] // what queries read comes first
	signer *signer
	owner  []byte
	ttl    uint32
	mu     sync.Mutex // of writers
}

// sigTable is what steeredSigs knew at one moment: nearly every service has few sets.
type sigTable struct {
	few  [fewSigs]keptSig // without gaps
	more map[uint64]*signature
}

// keptSig is one signature.
type keptSig struct {
	id  uint64     // see sigID
	sig *signature // nil: there is none
}

// sigID tells a service's signatures apart by what is signed: records of a content, and their TTL (RFC 4034, 3.1.4).
func sigID(content uint64, ttl uint32) uint64 { return content + uint64(ttl)*0x9e3779b97f4a7c15 }

const (
	fewSigs = 4 // that fill a cache line
	// maxSteered bounds the signatures of one service; beyond, those that were made first go.
	maxSteered = 4096
)

func (s *steeredSigs) get(id uint64) *signature { return s.known.Load().get(id) }

func (t *sigTable) get(id uint64) *signature {
	if t == nil {
		return nil
	}
	for i := range t.few {
		if k := &t.few[i]; k.id == id && k.sig != nil {
			return k.sig
		}
	}
	return t.more[id]
}

func (s *steeredSigs) put(id uint64, sig *signature) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fresh := new(sigTable)
	if old := s.known.Load(); old != nil && len(old.more) < maxSteered {
		*fresh = *old
	}
	for i := range fresh.few {
		if k := &fresh.few[i]; k.id == id || k.sig == nil {
			*k = keptSig{id, sig}
			s.known.Store(fresh)
			return
		}
	}
	more := make(map[uint64]*signature, len(fresh.more)+1)
	maps.Copy(more, fresh.more)
	more[id] = sig
	fresh.more = more
	s.known.Store(fresh)
}

// keptFor gives the signatures of a service at a host of a zone: the same ones as long as what they cover stays. s may be nil, as may
// the signer of a zone that is not signed.
func (s *steeredSigs) keptFor(by *signer, host string, ttl uint32) *steeredSigs {
	if by == nil {
		return nil
	}
	if s != nil && s.signer == by && string(s.owner) == host && s.ttl == ttl {
		return s
	}
	return &steeredSigs{signer: by, owner: []byte(host), ttl: ttl}
}

// steeredSet is what a service answers, to be signed.
type steeredSet struct {
	typ     uint16
	ttl     uint32        // seconds
	content uint64        // tells sets of the type apart
	records func() []byte // with another TTL
}

// steeredSignature gives the RRSIG records of a set as it stands at owner; kept are those of its service, nil: there are none.
func (z *Zone) steeredSignature(kept *steeredSigs, set *steeredSet, owner []byte, w *When) (Sig, bool) {
	if kept == nil || string(kept.owner) != string(owner) { // a wildcard's, so each name has its own
		key := dynamicKey(3, set.typ, set.content, set.ttl)
		return z.sigs.dynamically(owner, key[:], w, func(now uint32) (*signature, error) { return z.sigs.signSteered(set, owner, now) })
	}
	sig, must, ok := kept.look(set.content, set.ttl, w)
	if !must || !ok {
		return sig, ok
	}
	fresh, err := kept.signer.signSteered(set, owner, w.Now)
	if err != nil {
		return Sig{}, false
	}
	kept.put(sigID(set.content, set.ttl), fresh)
	return Sig{fresh.wire, fresh.count}, true
}

// look gives the signatures of a content, and tells whether they must be made instead, and may be.
func (s *steeredSigs) look(content uint64, ttl uint32, w *When) (sig Sig, must, ok bool) {
	have := s.get(sigID(content, ttl))
	if must, ok = w.wanted(have); must {
		return Sig{}, must, ok
	}
	return Sig{have.wire, have.count}, must, ok
}

func (s *signer) signSteered(set *steeredSet, owner []byte, now uint32) (*signature, error) {
	wire, count, until, err := s.sign(nil, owner, set.typ, set.ttl, dataOf(set.records()), now)
	return &signature{wire: wire, count: count, until: until}, err
}

// ahead prefetches where the signatures stand. It is the first of three steps; see Path.
func (s *steeredSigs) ahead() { prefetch.Of(s.known.Load()) }

// signatures prefetches the few first.
func (s *steeredSigs) signatures() {
	if t := s.known.Load(); t != nil {
		for i := range t.few {
			prefetch.Of(t.few[i].sig)
		}
	}
}

// signed prefetches the bytes of these.
func (s *steeredSigs) signed() {
	t := s.known.Load()
	if t == nil {
		return
	}
	for i := range t.few {
		if sig := t.few[i].sig; sig != nil && len(sig.wire) > 64 {
			prefetch.Of(&sig.wire[0])
			prefetch.Of(&sig.wire[64])
		}
	}
}
