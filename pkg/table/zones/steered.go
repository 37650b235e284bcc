package zones

import (
	"maps"
	"sync"
	"sync/atomic"

	"github.com/gti/gtm/pkg/prefetch"
	"github.com/gti/gtm/pkg/table/rr"
)

// SteeredSigs are the signatures of a service's alternative sets. They outlive changes of health and of the service, as long as
// host, TTLs and keys stay.
type SteeredSigs struct {
	known  atomic.Pointer[sigTable] // what queries read comes first
	signer *Signer
	owner  []byte
	ttls   uint64     // Service.TTLs, so that signatures of a TTL that nothing has any more make room
	mu     sync.Mutex // of writers
}

// sigTable is what SteeredSigs knew at one moment: nearly every service has few sets.
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

func (s *SteeredSigs) get(id uint64) *signature { return s.known.Load().get(id) }

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

func (s *SteeredSigs) put(id uint64, sig *signature) {
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

// KeptFor gives the signatures of a service at a host of a zone: the same ones as long as what they cover stays. s may be nil, as may
// the signer of a zone that is not signed.
func (s *SteeredSigs) KeptFor(by *Signer, host string, ttls uint64) *SteeredSigs {
	if by == nil {
		return nil
	}
	if s != nil && s.signer == by && string(s.owner) == host && s.ttls == ttls {
		return s
	}
	return &SteeredSigs{signer: by, owner: []byte(host), ttls: ttls}
}

// SteeredSet is what a service answers, to be signed.
type SteeredSet struct {
	Type    uint16
	TTL     uint32        // seconds
	Content uint64        // tells sets of the type apart
	Records func() []byte // with another TTL
}

// SteeredSignature gives the RRSIG records of a set as it stands at owner; kept are those of its service, nil: there are none.
func (z *Zone) SteeredSignature(kept *SteeredSigs, set *SteeredSet, owner []byte, w *When) (Sig, bool) {
	if kept == nil || string(kept.owner) != string(owner) { // a wildcard's, so each name has its own
		key := dynamicKey(3, set.Type, set.Content, set.TTL)
		return z.sigs.dynamically(owner, key[:], w, func(now uint32) (*signature, error) { return z.sigs.signSteered(set, owner, now) })
	}
	sig, must, ok := kept.Look(set.Content, set.TTL, w)
	if !must || !ok {
		return sig, ok
	}
	fresh, err := kept.signer.signSteered(set, owner, w.Now)
	if err != nil {
		return Sig{}, false
	}
	kept.put(sigID(set.Content, set.TTL), fresh)
	return Sig{fresh.wire, fresh.count}, true
}

// Look gives the signatures of a content, and tells whether they must be made instead, and may be.
func (s *SteeredSigs) Look(content uint64, ttl uint32, w *When) (sig Sig, must, ok bool) {
	have := s.get(sigID(content, ttl))
	if must, ok = w.wanted(have); must {
		return Sig{}, must, ok
	}
	return Sig{have.wire, have.count}, must, ok
}

func (s *Signer) signSteered(set *SteeredSet, owner []byte, now uint32) (*signature, error) {
	wire, count, until, err := s.sign(nil, owner, set.Type, set.TTL, rr.Data(set.Records()), now)
	return &signature{wire: wire, count: count, until: until}, err
}

// Ahead prefetches where the signatures stand. It is the first of three steps; see Path.
func (s *SteeredSigs) Ahead() { prefetch.Of(s.known.Load()) }

// Signatures prefetches the few first.
func (s *SteeredSigs) Signatures() {
	if t := s.known.Load(); t != nil {
		for i := range t.few {
			prefetch.Of(t.few[i].sig)
		}
	}
}

// Signed prefetches the bytes of these.
func (s *SteeredSigs) Signed() {
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
