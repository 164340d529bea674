package seal

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"time"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"

	"sallyport/pkg/contract"
)

// Keyset says which of the two keysets of a key file.
type Keyset string

// The keysets.
const (
	// Store seals what one service keeps.
	Store Keyset = "store"
	// Bus seals the secret fields of messages; the services share it.
	Bus Keyset = "bus"
)

// keyFile is the form of a key file.
type keyFile struct {
	Service contract.Service `json:"service"`
	// KMS is the key of AWS KMS that wraps both keysets; where there is none they are in clear.
	KMS string `json:"kms,omitempty"`
	// Since is when the key that seals now began to, of each keyset.
	Since map[Keyset]time.Time `json:"since,omitempty"`
	Store json.RawMessage      `json:"store"`
	Bus   json.RawMessage      `json:"bus"`
}

// content is what a key file says, opened.
type content struct {
	service contract.Service
	kms     string
	since   map[Keyset]time.Time
	sets    map[Keyset]*tinkpb.Keyset
	info    os.FileInfo // of the file it was read from
}

// readWithin bounds the reading of a key file: AWS KMS may be asked twice.
const readWithin = 20 * time.Second

// read reads the key file of a service. It refuses, by name, a file that is missing, readable by everybody, not a key
// file, of another service or of none, or that holds anything but enabled, random 256-bit AEAD keys: there is no default
// key.
func read(ctx context.Context, path string, service contract.Service) (*content, error) {
	f, info, err := open(path, service)
	if err != nil {
		return nil, err
	}
	c := &content{service: service, kms: f.KMS, since: f.Since, sets: make(map[Keyset]*tinkpb.Keyset), info: info}
	for name, raw := range f.keysets() {
		if c.sets[name], err = unwrap(ctx, raw, f.KMS, service, name); err == nil {
			err = check(c.sets[name])
		}
		if err != nil {
			return nil, fmt.Errorf("key file %s: %q: %w", path, name, err)
		}
	}
	return c, nil
}

// open reads a key file up to its keysets.
func open(path string, service contract.Service) (f keyFile, info os.FileInfo, err error) {
	if path == "" {
		return f, nil, errors.New("no key file is named")
	}
	if info, err = os.Stat(path); err != nil {
		return f, nil, fmt.Errorf("key file: %w", err)
	}
	if info.Mode().Perm()&0o007 != 0 {
		return f, nil, fmt.Errorf("key file %s: everybody may read it (mode %04o); make it 0600", path, info.Mode().Perm())
	}
	raw, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	if err != nil {
		return f, nil, fmt.Errorf("key file: %w", err)
	}
	if err := json.Unmarshal(raw, &f); err != nil {
		return f, nil, fmt.Errorf("key file %s: not a key file", path)
	}
	switch f.Service {
	case service:
		return f, info, nil
	case "":
		return f, nil, fmt.Errorf("key file %s names no service; that of %s has \"service\": %q", path, service, service)
	default:
		return f, nil, fmt.Errorf("key file %s belongs to %s, not %s", path, f.Service, service)
	}
}

// keysets are both, in their order.
func (f keyFile) keysets() iter.Seq2[Keyset, json.RawMessage] {
	return func(yield func(Keyset, json.RawMessage) bool) {
		_ = yield(Store, f.Store) && yield(Bus, f.Bus)
	}
}

// Check returns what is wrong with the key file of a service, or nil, as [Load] would. It asks nobody: of keysets that a key
// of AWS KMS has wrapped it sees the form alone.
func Check(path string, service contract.Service) error {
	f, _, err := open(path, service)
	if err != nil {
		return err
	}
	if f.KMS == "" {
		_, err := read(context.Background(), path, service)
		return err
	}
	if err := CheckKMS(f.KMS); err != nil {
		return fmt.Errorf("key file %s: %w", path, err)
	}
	for name, raw := range f.keysets() {
		if set, err := keyset.NewJSONReader(bytes.NewReader(raw)).ReadEncrypted(); err != nil || len(set.GetEncryptedKeyset()) == 0 {
			return fmt.Errorf("key file %s: %q: not a Tink keyset that a key of AWS KMS has wrapped", path, name)
		}
	}
	return nil
}

// unwrap reads a keyset, with the help of AWS KMS where a key of it is named.
func unwrap(ctx context.Context, raw json.RawMessage, kms string, service contract.Service, name Keyset) (*tinkpb.Keyset, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, errors.New("missing keyset")
	}
	reader := keyset.NewJSONReader(bytes.NewReader(raw))
	if kms == "" {
		set, err := reader.Read()
		if err != nil {
			return nil, errors.New("not a Tink keyset")
		}
		return set, nil
	}
	w, err := newWrapper(ctx, kms, service, name)
	if err != nil {
		return nil, err
	}
	handle, err := keyset.ReadWithContext(ctx, reader, w, nil)
	switch {
	case w.fault != nil:
		return nil, w.fault
	case err != nil:
		return nil, errors.New("not a Tink keyset that a key of AWS KMS has wrapped")
	}
	return insecurecleartextkeyset.KeysetMaterial(handle), nil
}

// wrap writes a keyset, wrapped where a key of AWS KMS is named.
func wrap(ctx context.Context, set *tinkpb.Keyset, kms string, service contract.Service, name Keyset) (json.RawMessage, error) {
	var out bytes.Buffer
	handle, err := insecurecleartextkeyset.Read(inMemory{set})
	if err != nil {
		return nil, fmt.Errorf("keyset: %w", err)
	}
	if kms == "" {
		err = insecurecleartextkeyset.Write(handle, keyset.NewJSONWriter(&out))
		return out.Bytes(), err
	}
	w, err := newWrapper(ctx, kms, service, name)
	if err != nil {
		return nil, err
	}
	if err = handle.WriteWithContext(ctx, keyset.NewJSONWriter(&out), w, nil); w.fault != nil {
		err = w.fault
	}
	return out.Bytes(), err
}

// inMemory is a keyset for Tink to read.
type inMemory struct{ set *tinkpb.Keyset }

// Read returns it.
func (m inMemory) Read() (*tinkpb.Keyset, error) { return m.set, nil }

// ReadEncrypted returns nothing: it is in clear.
func (inMemory) ReadEncrypted() (*tinkpb.EncryptedKeyset, error) {
	return nil, errors.New("the keyset is in clear")
}

// encode is the file that says this.
func (c *content) encode(ctx context.Context) ([]byte, error) {
	f := keyFile{Service: c.service, KMS: c.kms, Since: c.since}
	var err error
	if f.Store, err = wrap(ctx, c.sets[Store], c.kms, c.service, Store); err != nil {
		return nil, err
	}
	if f.Bus, err = wrap(ctx, c.sets[Bus], c.kms, c.service, Bus); err != nil {
		return nil, err
	}
	return json.MarshalIndent(f, "", "  ")
}

// strong are the key types that are accepted.
var strong = map[string]bool{
	"type.googleapis.com/google.crypto.tink.AesGcmKey":            true,
	"type.googleapis.com/google.crypto.tink.XChaCha20Poly1305Key": true,
	"type.googleapis.com/google.crypto.tink.ChaCha20Poly1305Key":  true,
}

// check refuses a keyset with anything but enabled, random 256-bit AEAD keys, one of which seals.
func check(set *tinkpb.Keyset) error {
	if len(set.GetKey()) == 0 {
		return errors.New("missing keys")
	}
	known := make(map[uint32]bool)
	for _, k := range set.GetKey() {
		id := k.GetKeyId()
		switch {
		case known[id]:
			return fmt.Errorf("there are two keys %d", id)
		case !strong[k.GetKeyData().GetTypeUrl()]:
			return fmt.Errorf("key %d is a %s, not a 256-bit AEAD key", id, k.GetKeyData().GetTypeUrl())
		case k.GetOutputPrefixType() != tinkpb.OutputPrefixType_TINK:
			return fmt.Errorf("key %d does not put its id on ciphertexts", id)
		case k.GetStatus() != tinkpb.KeyStatusType_ENABLED:
			return fmt.Errorf("key %d is not enabled (%s)", id, k.GetStatus())
		}
		known[id] = true
		material, err := bytesOf(k)
		if err != nil {
			return err
		}
		if bytes.Count(material, material[31:]) == len(material) {
			return fmt.Errorf("key %d is not random", id)
		}
	}
	if !known[set.GetPrimaryKeyId()] {
		return fmt.Errorf("key %d is to seal, but it is not there", set.GetPrimaryKeyId())
	}
	return nil
}

// bytesOf are the bytes of a key: the last field of its serialized form.
func bytesOf(k *tinkpb.Keyset_Key) ([]byte, error) {
	value := k.GetKeyData().GetValue()
	if len(value) < 32 {
		return nil, fmt.Errorf("key %d is shorter than 256 bits", k.GetKeyId())
	}
	return value[len(value)-32:], nil
}

// ready makes a keyset, which was checked, usable.
func ready(set *tinkpb.Keyset) (*ring, error) {
	handle, err := insecurecleartextkeyset.Read(inMemory{set})
	if err != nil {
		return nil, fmt.Errorf("not a Tink keyset: %w", err)
	}
	r := &ring{primary: set.GetPrimaryKeyId()}
	if r.aead, err = aead.New(handle); err != nil {
		return nil, fmt.Errorf("not an AEAD keyset: %w", err)
	}
	for _, k := range set.GetKey() {
		r.ids = append(r.ids, k.GetKeyId())
		if k.GetKeyId() != r.primary {
			continue
		}
		material, err := bytesOf(k)
		if err != nil {
			return nil, err
		}
		if r.mac, err = hkdf.Key(sha256.New, material, nil, "sallyport: names without their owners", sha256.Size); err != nil {
			return nil, fmt.Errorf("no key for hashes: %w", err)
		}
	}
	return r, nil
}

// newKey makes a keyset with one fresh key.
func newKey() (*tinkpb.Keyset, error) {
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, fmt.Errorf("new keyset: %w", err)
	}
	return insecurecleartextkeyset.KeysetMaterial(handle), nil
}
