package keys

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"filippo.io/age"

	"github.com/gti/gtm/pkg/private"
	"github.com/gti/gtm/pkg/zone/dnssec"
)

// folder holds private parts of key-signing keys, one file each, named as BIND's tools do: Kexample.+013+12345.private.
type folder string

// keyName is what names a key of a zone.
type keyName struct {
	algorithm dnssec.Algorithm
	tag       uint16
}

func openFolder(dir string) (folder, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("cannot keep key-signing keys: %w", err)
	}
	return folder(dir), private.Check(dir, "the folder of key-signing keys")
}

// longestName is how long a zone's name can be in a file's name, which has 255 bytes at most.
const longestName = 235

// fileName gives a zone's name as files have it: without slashes, and a hash in the place of what would be too long.
func fileName(zone string) string {
	name := url.PathEscape(zone)
	if len(name) > longestName {
		sum := sha256.Sum256([]byte(zone))
		name = fmt.Sprintf("%s~%x", name[:longestName-33], sum[:16])
	}
	return name
}

func (f folder) path(zone string, k keyName) string {
	return filepath.Join(string(f), fmt.Sprintf("K%s+%03d+%05d.private", fileName(zone), k.algorithm, k.tag))
}

// read gives the key-signing keys of a keyset that are here.
func (f folder) read(ks dnssec.Keyset) ([]*dnssec.Key, error) {
	var keys []*dnssec.Key
	for _, s := range ks.State.Keys {
		if !s.KSK {
			continue
		}
		path := f.path(ks.Zone, keyName{s.Algorithm, s.Tag})
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read a key-signing key: %w", err)
		}
		if err := private.Check(path, "the key-signing key"); err != nil {
			return nil, err
		}
		k, err := dnssec.ParsePrivate(text)
		if err != nil {
			return nil, fmt.Errorf("%s is not the key-signing key that it should be: %w", path, err)
		}
		if !bytes.Equal(k.DNSKEY(), s.Public) {
			return nil, fmt.Errorf("%s holds another key than the one in use, %d: bring back the right file", path, s.Tag)
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// explain says what to do about a key that is not here.
func (f folder) explain(err error) error {
	var missing *dnssec.MissingKeyError
	if !errors.As(err, &missing) {
		return err
	}
	return fmt.Errorf("%w: in %s there is no file K%s+*+%05d.private; another control role may have it, and goes on with the zone; else "+
		"bring it back from a backup",
		err, f, fileName(missing.Zone), missing.Tag)
}

// write keeps keys, and returns when the disk has them.
func (f folder) write(zone string, keys ring) error {
	for _, k := range keys {
		text, err := k.MarshalText()
		if err != nil {
			return err
		}
		if err := writePrivate(f.path(zone, keyName{k.Algorithm(), k.Tag()}), text); err != nil {
			return fmt.Errorf("cannot keep a key-signing key: %w", err)
		}
	}
	return nil
}

// writePrivate makes a file (0600) that is there whole or not at all. There must be none yet.
func writePrivate(path string, text []byte) error {
	return installPrivate(path, text, os.Link) // unlike a rename, it replaces nothing
}

// installPrivate writes a file (0600) beside path, and has it put there when it is whole on the disk.
func installPrivate(path string, text []byte, put func(temp, path string) error) error {
	temp, err := os.CreateTemp(filepath.Dir(path), ".new-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	_, err = temp.Write(text)
	if err == nil {
		err = temp.Sync()
	}
	if err = errors.Join(err, temp.Close()); err != nil {
		return err
	}
	if err := put(temp.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func tagsOf(keys ring) []keyName {
	names := make([]keyName, len(keys))
	for i, k := range keys {
		names[i] = keyName{k.Algorithm(), k.Tag()}
	}
	return names
}

// remove takes keys away that are not needed any more. They may be gone already.
func (f folder) remove(zone string, names []keyName) error {
	for _, n := range names {
		if err := os.Remove(f.path(zone, n)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("an old key-signing key cannot be removed: %w", err)
		}
	}
	return nil
}

// LoadIdentity gives the age identity in a file, and makes file (mode 0600) and identity at the first call. What an
// edge group, or the control roles, share is one such file.
func LoadIdentity(path string) (*age.X25519Identity, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		id, err := age.GenerateX25519Identity()
		if err != nil {
			return nil, err
		}
		err = writePrivate(path, fmt.Appendf(nil, "# public key: %s\n%s\n", id.Recipient(), id))
		if errors.Is(err, fs.ErrExist) {
			return LoadIdentity(path) // another process was first
		}
		if err != nil {
			return nil, fmt.Errorf("cannot keep an age identity: %w", err)
		}
		return id, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read an age identity: %w", err)
	}
	if err := private.Check(path, "the age identity"); err != nil {
		return nil, err
	}
	ids, err := age.ParseIdentities(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("%s holds no age identity: %w; age-keygen makes one", path, err)
	}
	if id, ok := ids[0].(*age.X25519Identity); ok && len(ids) == 1 {
		return id, nil
	}
	return nil, fmt.Errorf("%s must hold one age identity as in AGE-SECRET-KEY-1..., as age-keygen makes it", path)
}
