package seal

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"

	"sallyport/pkg/contract"
)

// KMSScheme begins the name of a key of AWS KMS in a key file; its ARN follows.
const KMSScheme = "aws-kms://"

// ErrKMS is in the chain of an error when AWS KMS did not answer, or did not let us; the file itself may be good.
var ErrKMS = errors.New("AWS KMS")

// CheckKMS refuses what is not the name of a key of AWS KMS.
func CheckKMS(uri string) error {
	_, err := kmsARN(uri)
	return err
}

// kmsARN takes the name of a key apart.
func kmsARN(uri string) (arn.ARN, error) {
	name, ok := strings.CutPrefix(uri, KMSScheme)
	a, err := arn.Parse(name)
	if !ok || err != nil || a.Service != "kms" || a.Region == "" || a.Resource == "" {
		return a, fmt.Errorf("%q names no key of AWS KMS; one looks like %sarn:aws:kms:eu-central-1:111122223333:key/1234abcd-…", uri, KMSScheme)
	}
	return a, nil
}

// wrapper wraps a keyset of a service with a key that never leaves AWS KMS. Service and keyset are the encryption
// context: what was wrapped for one service is not unwrapped as that of another, and a key policy can say who may unwrap
// what (kms:EncryptionContext:service).
type wrapper struct {
	client  *kms.Client
	key     string
	context map[string]string
	fault   error // of the last call; Tink's own error hides it
}

// newWrapper configures the AWS SDK from its own chain: the environment, shared files, container and instance roles. The
// region is the key's; AWS_ENDPOINT_URL_KMS replaces the endpoint. The SDK logs nothing.
func newWrapper(ctx context.Context, uri string, service contract.Service, name Keyset) (*wrapper, error) {
	a, err := kmsARN(uri)
	if err != nil {
		return nil, err
	}
	cfg, err := awsconfig.LoadDefaultConfig(ctx, awsconfig.WithRegion(a.Region), awsconfig.WithLogger(logging.Nop{}))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKMS, err)
	}
	return &wrapper{
		client: kms.NewFromConfig(cfg), key: a.String(),
		context: map[string]string{"service": string(service), "keyset": string(name)},
	}, nil
}

// EncryptWithContext wraps.
func (w *wrapper) EncryptWithContext(ctx context.Context, plain, _ []byte) ([]byte, error) {
	out, err := w.client.Encrypt(ctx, &kms.EncryptInput{KeyId: aws.String(w.key), Plaintext: plain, EncryptionContext: w.context})
	if err != nil {
		w.fault = w.explain("wrap", err)
		return nil, w.fault
	}
	return out.CiphertextBlob, nil
}

// DecryptWithContext unwraps.
func (w *wrapper) DecryptWithContext(ctx context.Context, wrapped, _ []byte) ([]byte, error) {
	out, err := w.client.Decrypt(ctx, &kms.DecryptInput{KeyId: aws.String(w.key), CiphertextBlob: wrapped, EncryptionContext: w.context})
	if err != nil {
		w.fault = w.explain("unwrap", err)
		return nil, w.fault
	}
	return out.Plaintext, nil
}

// explain says what AWS KMS said, or that it said nothing.
func (w *wrapper) explain(what string, err error) error {
	var said smithy.APIError
	if errors.As(err, &said) {
		reason := said.ErrorCode()
		if m := said.ErrorMessage(); m != "" {
			reason += ": " + m
		}
		return fmt.Errorf("%w does not %s it with key %s (%s)", ErrKMS, what, w.key, reason)
	}
	return fmt.Errorf("%w does not answer, so that key %s cannot %s it: %w", ErrKMS, w.key, what, err)
}
