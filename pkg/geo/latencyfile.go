package geo

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"time"

	"github.com/gti/gtm/pkg/geo/stamp"
)

// LatencyTable tells for networks how far sites are from them: one file, see OpenLatency. Immutable.
type LatencyTable struct {
	latencies *latencies
	v4, v6    *packed // of ids
	info      Info
	took      time.Duration // to open it
	file      watched       // what Watch compares with; its name is empty where there is no file
	instead   bool          // of another than its file, which could not be used
}

// OpenLatency reads and verifies a latency table: an MMDB file whose database_type is LatencyType. It may tell of at most
// MaxLatencySites sites, and for one network of MaxNetworkSites. A corrupt file is refused, and the error names it.
//
// The data of a network is a map of names of sites to maps of "ms", a number, and "n", how many samples that stands on; what else stands
// in these is ignored. The measurements are taken to be from when the file was built. Of networks inside of each other the longest
// counts, alone.
func OpenLatency(file string) (*LatencyTable, error) {
	begun, seen := time.Now(), stamp.Of(file)
	mmdb, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("latency table: %w", err)
	}
	t, err := OpenLatencyBytes(file, mmdb)
	if err != nil {
		return nil, err
	}
	t.file, t.took = watched{file, seen}, time.Since(begun)
	return t, nil
}

// OpenLatencyBytes is OpenLatency for a table in memory; name stands for it in messages. The bytes are not kept.
func OpenLatencyBytes(name string, mmdb []byte) (*LatencyTable, error) {
	t, err := readLatency(mmdb)
	if err != nil {
		return nil, fmt.Errorf("latency table %s cannot be used: %w (is the file complete? build it again)", name, err)
	}
	t.info.File, t.info.SHA256 = name, hex.EncodeToString(sumOf(mmdb))
	return t, nil
}

// Info describes the table.
func (t *LatencyTable) Info() Info { return t.info }

// OpenedIn is how long OpenLatency took for it.
func (t *LatencyTable) OpenedIn() time.Duration { return t.took }

// Lookup gives what is known of an address, nil for nothing, and the longest network around it of which that is known throughout.
func (t *LatencyTable) Lookup(addr netip.Addr) (*Latency, netip.Prefix) {
	if !addr.IsValid() {
		return nil, netip.Prefix{}
	}
	x, v4 := fromAddr(addr)
	id, scope := t.family(v4).find(x)
	prefix, _ := x.addr(v4).Prefix(scope)
	return t.latencies.get(id), prefix
}

func (t *LatencyTable) family(v4 bool) *packed {
	if v4 {
		return t.v4
	}
	return t.v6
}

func readLatency(mmdb []byte) (*LatencyTable, error) {
	db, metadata, err := openMMDB(mmdb)
	if err != nil {
		return nil, err
	}
	if metadata.DatabaseType != LatencyType {
		return nil, fmt.Errorf("its type is %q; that of a latency table is %s", metadata.DatabaseType, LatencyType)
	}
	if metadata.BuildEpoch == 0 || metadata.BuildEpoch > 1<<40 {
		return nil, errors.New("its build_epoch, when the measurements were made, is no time")
	}
	measured := time.Unix(int64(metadata.BuildEpoch), 0).UTC()
	reader := &latencyReader{section: db.data, latencies: newLatencies(measured, db.different()), values: map[int]latencyRow{}}
	w, err := walk(db, reader.read)
	if err != nil {
		return nil, err
	}
	if len(reader.sites) == 0 {
		return nil, errors.New("it knows no network")
	}
	reader.done()
	return &LatencyTable{latencies: reader.latencies, v4: w.v4, v6: w.v6,
		info: Info{Type: metadata.DatabaseType, Built: measured, Networks: w.networks, Sites: len(reader.sites)}}, nil
}

// latencyReader reads the data of networks.
type latencyReader struct {
	section
	*latencies
	rows   []latencyRow       // of the record that is read
	values map[int]latencyRow // read before, by position: there are few different ones
}

// read gives the id of the data at a position.
func (r *latencyReader) read(at int) (uint32, error) {
	r.rows = r.rows[:0]
	err := r.each(at, "the record", func(key []byte, value int) error {
		i, known := r.index[string(key)]
		if !known {
			if err := r.mayAdd(key); err != nil {
				return err
			}
			i = r.site(string(key))
		}
		if len(r.rows) == MaxNetworkSites {
			return fmt.Errorf("it has more than %d sites", MaxNetworkSites)
		}
		row, err := r.value(value)
		if err != nil {
			return fmt.Errorf("site %s: %w", key, err)
		}
		row.site = i
		r.rows = append(r.rows, row)
		return nil
	})
	if err != nil {
		return 0, err
	}
	sortRows(r.rows)
	for i := 1; i < len(r.rows); i++ {
		if r.rows[i].site == r.rows[i-1].site {
			return 0, fmt.Errorf("site %s stands twice", r.sites[r.rows[i].site])
		}
	}
	return r.id(r.rows), nil
}

// mayAdd refuses what is no name of a site, or one too many.
func (r *latencyReader) mayAdd(name []byte) error {
	if !IsSite(string(name)) {
		return fmt.Errorf("%.80q is not the name of a site: a-z, 0-9 and -, at most 63", name)
	}
	if len(r.sites) == MaxLatencySites {
		return fmt.Errorf("the file has more than %d sites", MaxLatencySites)
	}
	return nil
}

// value reads the numbers of one site.
func (r *latencyReader) value(at int) (row latencyRow, err error) {
	f, err := r.follow(at)
	if err != nil {
		return row, err
	}
	if row, ok := r.values[f.body]; ok && f.kind == kindMap {
		return row, nil
	}
	ms, samples := math.NaN(), uint32(0)
	err = r.each(at, "its data", func(key []byte, value int) (err error) {
		switch what := string(key); what {
		case "ms":
			ms, err = r.real(value, what)
		case "n":
			samples, err = r.number(value, what)
		}
		return err
	})
	switch {
	case err != nil:
		return row, err
	case !(ms >= 0 && ms < math.Inf(1)):
		return row, errors.New("ms is no number of milliseconds")
	case samples == 0:
		return row, errors.New("n, the number of samples, is 0 or is missing")
	}
	row = latencyRow{ms: millisecondStep(ms), sample: sampleStep(int(min(samples, math.MaxInt32)))}
	r.values[f.body] = row
	return row, nil
}

// IsSite reports whether s can be the name of a site: what resources may be called.
func IsSite(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}
