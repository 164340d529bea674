// Package seal answers: how is what must stay secret kept at rest and on the bus?
//
// Each service has one key file, which names it, with two Tink keysets: "store" seals what the service keeps and belongs to it alone,
// "bus" seals the secret fields of messages and is shared by the services. A ciphertext is bound to its place by
// associated data, so that a row moved to another user, or a field moved to another message, does not open.
package seal

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"
	"github.com/tink-crypto/tink-go/v2/tink"

	"sallyport/pkg/contract"
	"sallyport/pkg/secret"
)

// Keys are the two boxes of a service.
type Keys struct {
	// Store seals what this service keeps.
	Store *Box
	// Bus seals the secret fields of messages.
	Bus *Box
}

// keyFile is the form of a key file.
type keyFile struct {
	Service contract.Service `json:"service"`
	Store   json.RawMessage  `json:"store"`
	Bus     json.RawMessage  `json:"bus"`
}

// Load reads the key file of a service. It refuses, by name, a file that is missing, readable by everybody, not a key
// file, of another service or of none, or that holds anything but enabled 256-bit AEAD keys: there is no default key.
func Load(path string, service contract.Service) (*Keys, error) {
	keys, _, err := load(path, service)
	return keys, err
}

// load also returns the file's bus keyset as it is written there.
func load(path string, service contract.Service) (*Keys, json.RawMessage, error) {
	if path == "" {
		return nil, nil, errors.New("no key file is named")
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, fmt.Errorf("key file: %w", err)
	}
	if info.Mode().Perm()&0o007 != 0 {
		return nil, nil, fmt.Errorf("key file %s: everybody may read it (mode %04o); make it 0600", path, info.Mode().Perm())
	}
	raw, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, nil, fmt.Errorf("key file: %w", err)
	}
	var f keyFile
	if err := json.Unmarshal(raw, &f); err != nil {
		return nil, nil, fmt.Errorf("key file %s: not a key file", path)
	}
	switch f.Service {
	case service:
	case "":
		return nil, nil, fmt.Errorf("key file %s names no service; that of %s has \"service\": %q", path, service, service)
	default:
		return nil, nil, fmt.Errorf("key file %s belongs to %s, not %s", path, f.Service, service)
	}
	store, err := open(f.Store)
	if err != nil {
		return nil, nil, fmt.Errorf("key file %s: \"store\": %w", path, err)
	}
	bus, err := open(f.Bus)
	if err != nil {
		return nil, nil, fmt.Errorf("key file %s: \"bus\": %w", path, err)
	}
	return &Keys{Store: store, Bus: bus}, f.Bus, nil
}

// strong are the key types that are accepted.
var strong = map[string]bool{
	"type.googleapis.com/google.crypto.tink.AesGcmKey":            true,
	"type.googleapis.com/google.crypto.tink.XChaCha20Poly1305Key": true,
	"type.googleapis.com/google.crypto.tink.ChaCha20Poly1305Key":  true,
}

func open(raw json.RawMessage) (*Box, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, errors.New("missing keyset")
	}
	handle, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(raw)))
	if err != nil {
		return nil, errors.New("not a Tink keyset")
	}
	info := handle.KeysetInfo()
	for _, k := range info.GetKeyInfo() {
		if !strong[k.GetTypeUrl()] {
			return nil, fmt.Errorf("key %d is a %s, not a 256-bit AEAD key", k.GetKeyId(), k.GetTypeUrl())
		}
		if k.GetOutputPrefixType() != tinkpb.OutputPrefixType_TINK {
			return nil, fmt.Errorf("key %d does not put its id on ciphertexts", k.GetKeyId())
		}
	}
	primary, err := sizes(raw, info.GetPrimaryKeyId())
	if err != nil {
		return nil, err
	}
	a, err := aead.New(handle)
	if err != nil {
		return nil, fmt.Errorf("not an AEAD keyset: %w", err)
	}
	mac, err := hkdf.Key(sha256.New, primary, nil, "sallyport: names without their owners", sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("no key for hashes: %w", err)
	}
	return &Box{aead: a, primary: info.GetPrimaryKeyId(), mac: mac}, nil
}

// sizes refuses keys that are too short or all zero, and returns the bytes of the primary one. The key bytes are the
// last field of each serialized key.
func sizes(raw json.RawMessage, primary uint32) (key []byte, err error) {
	var set struct {
		Key []struct {
			KeyID   uint32 `json:"keyId"`
			KeyData struct {
				Value string `json:"value"`
			} `json:"keyData"`
		} `json:"key"`
	}
	if err := json.Unmarshal(raw, &set); err != nil {
		return nil, errors.New("not a Tink keyset")
	}
	for _, k := range set.Key {
		value, err := base64.StdEncoding.DecodeString(k.KeyData.Value)
		if err != nil || len(value) < 32 {
			return nil, fmt.Errorf("key %d is shorter than 256 bits", k.KeyID)
		}
		last := value[len(value)-32:]
		if bytes.Count(last, last[31:]) == 32 {
			return nil, fmt.Errorf("key %d is not random", k.KeyID)
		}
		if k.KeyID == primary {
			key = last
		}
	}
	return key, nil
}

// Generate makes sure that dir holds a key file for each service, mode 0600, and returns their paths. The services share
// a bus keyset; each has a store keyset of its own. Files that exist are kept, once they are known to be good. hasData
// says that the installation has kept something already: then a missing file is refused by name, because new keys would
// not open it. Without data the missing ones are made, so that a first start that was killed half-way is completed.
func Generate(dir string, services []contract.Service, hasData bool) (map[contract.Service]string, error) {
	paths := make(map[contract.Service]string, len(services))
	var missing []contract.Service
	var shared json.RawMessage
	for _, s := range services {
		paths[s] = filepath.Join(dir, string(s)+".json")
		_, bus, err := load(paths[s], s)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			missing = append(missing, s)
		case err != nil:
			return nil, err
		default:
			shared = bus
		}
	}
	switch {
	case len(missing) == 0:
		return paths, nil
	case hasData && len(missing) == len(services):
		return nil, fmt.Errorf("key directory %s holds no key files, but there is data; without them what was sealed cannot be opened: restore them from a backup", dir)
	case hasData:
		var errs []error
		for _, s := range missing {
			errs = append(errs, fmt.Errorf("key file %s is missing; without it what that service sealed cannot be opened: restore it from a backup", paths[s]))
		}
		return nil, errors.Join(errs...)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("key directory: %w", err)
	}
	if shared == nil {
		var err error
		if shared, err = newKeyset(); err != nil {
			return nil, err
		}
	}
	for _, s := range missing {
		own, err := newKeyset()
		if err != nil {
			return nil, err
		}
		raw, err := json.MarshalIndent(keyFile{Service: s, Store: own, Bus: shared}, "", "  ")
		if err != nil {
			return nil, fmt.Errorf("key file: %w", err)
		}
		if err := writeNew(paths[s], raw); err != nil {
			return nil, err
		}
	}
	// The names must be on disk before anything is sealed.
	if err := errors.Join(syncDir(dir), syncDir(filepath.Dir(dir))); err != nil {
		return nil, fmt.Errorf("key directory: %w", err)
	}
	return paths, nil
}

// writeNew writes a file that is either whole and on disk, or not there. It replaces none: of two processes that start
// for the first time at once, one is refused.
func writeNew(path string, raw []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".key-*")
	if err != nil {
		return fmt.Errorf("key file: %w", err)
	}
	defer os.Remove(f.Name()) //nolint:errcheck // a second name of the key file, or half of one
	if _, err := f.Write(raw); err != nil {
		return errors.Join(fmt.Errorf("key file: %w", err), f.Close())
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("key file: %w", err)
	}
	if err := os.Link(f.Name(), path); err != nil {
		return fmt.Errorf("key file: %w", err)
	}
	return nil
}

// syncDir puts the names in a directory on disk.
func syncDir(path string) error {
	d, err := os.Open(path) //nolint:gosec // our own data directory
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func newKeyset() (json.RawMessage, error) {
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, fmt.Errorf("new keyset: %w", err)
	}
	var out bytes.Buffer
	if err := insecurecleartextkeyset.Write(handle, keyset.NewJSONWriter(&out)); err != nil {
		return nil, fmt.Errorf("new keyset: %w", err)
	}
	return out.Bytes(), nil
}

// Box seals and opens with one keyset. Safe for concurrent use; about a microsecond per operation.
type Box struct {
	aead    tink.AEAD
	primary uint32
	mac     []byte
}

// PrimaryKeyID is the id of the key that seals now; it stands in front of each ciphertext.
func (b *Box) PrimaryKeyID() uint32 { return b.primary }

// ErrOpen is returned for a ciphertext that does not belong here: changed, moved, or sealed under another key.
var ErrOpen = errors.New("a sealed value does not open here")

// Seal encrypts plain so that it opens only with the same place.
func (b *Box) Seal(plain []byte, place Place) ([]byte, error) {
	out, err := b.aead.Encrypt(plain, place.bytes())
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return out, nil
}

// Open decrypts what was sealed for the same place, or returns [ErrOpen].
func (b *Box) Open(sealed []byte, place Place) ([]byte, error) {
	out, err := b.aead.Decrypt(sealed, place.bytes())
	if err != nil {
		return nil, ErrOpen
	}
	return out, nil
}

// Hash is a name for a value that nobody can find the value from without the key, such as a telephone number, of which
// there are too few for a plain hash. The same value has another name in another place. The key is derived (HKDF) from
// the key that seals now: after a rotation every value has a new name, so this is for what is forgotten within a day.
func (b *Box) Hash(value []byte, place Place) []byte {
	h := hmac.New(sha256.New, b.mac)
	h.Write(append(place, string(value)).bytes())
	return h.Sum(nil)
}

// SealField seals a secret field of a message about one person. Purpose is one of the contract's Purpose constants.
func (b *Box) SealField(plain secret.String, purpose string, who contract.Account) (contract.Sealed, error) {
	out, err := b.Seal([]byte(plain.Reveal()), Place{purpose, who.Portal, who.User})
	if err != nil {
		return "", err
	}
	return contract.Sealed(base64.RawStdEncoding.EncodeToString(out)), nil
}

// OpenField opens what [Box.SealField] sealed for the same purpose and person.
func (b *Box) OpenField(sealed contract.Sealed, purpose string, who contract.Account) (secret.String, error) {
	raw, err := base64.RawStdEncoding.DecodeString(string(sealed))
	if err != nil {
		return secret.String{}, ErrOpen
	}
	out, err := b.Open(raw, Place{purpose, who.Portal, who.User})
	if err != nil {
		return secret.String{}, err
	}
	return secret.New(string(out)), nil
}

// Place is where a sealed value belongs: for stored values portal, collection, field, user, credential. It is the
// associated data of the encryption; each part is length-prefixed, so that no two places look alike.
type Place []string

func (p Place) bytes() []byte {
	var out []byte
	for _, part := range p {
		out = binary.BigEndian.AppendUint32(out, uint32(len(part))) //nolint:gosec // parts are short ids
		out = append(out, part...)
	}
	return out
}
