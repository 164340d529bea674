package sms

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"regexp"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"sallyport/pkg/config"
	"sallyport/pkg/secret"
)

// sender makes single calls of SNS. It never tries again: only who keeps the count may.
type sender struct {
	client      *sns.Client
	credentials aws.CredentialsProvider
	attributes  map[string]types.MessageAttributeValue // of every text
	senders     Senders
	name        string // of the sender, where senders has none
	timeout     time.Duration
}

// aws configures the AWS SDK: from the settings where they name region or credentials, and otherwise from the SDK's own chain
// (shared files, container and instance roles). It asks nobody. The SDK logs nothing.
func (s Settings) aws(ctx context.Context) (aws.Config, error) {
	options := []func(*awsconfig.LoadOptions) error{
		awsconfig.WithRetryer(func() aws.Retryer { return aws.NopRetryer{} }),
		awsconfig.WithLogger(logging.Nop{}),
		awsconfig.WithHTTPClient(awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
			t.MaxIdleConnsPerHost = s.Workers
		})),
	}
	if s.AWSRegion != "" {
		options = append(options, awsconfig.WithRegion(s.AWSRegion))
	}
	if s.AWSAccessKeyID != "" {
		options = append(options, awsconfig.WithCredentialsProvider(
			credentials.NewStaticCredentialsProvider(s.AWSAccessKeyID, s.AWSSecretAccessKey.Reveal(), s.AWSSessionToken.Reveal())))
	}
	cfg, err := awsconfig.LoadDefaultConfig(ctx, options...)
	switch {
	case err != nil:
		return cfg, fmt.Errorf("AWS: %w", err)
	case cfg.Region == "":
		return cfg, errors.New("AWS_REGION: must be set")
	case !regionShape.MatchString(cfg.Region):
		return cfg, errors.New("AWS_REGION: must be a region such as us-east-1")
	}
	return cfg, nil
}

var regionShape = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// newSender makes a sender with these settings.
func newSender(ctx context.Context, s Settings) (*sender, error) {
	cfg, err := s.aws(ctx)
	if err != nil {
		return nil, &config.Error{Problems: []string{err.Error()}}
	}
	out := &sender{
		credentials: cfg.Credentials, senders: s.Senders, name: s.SenderID, timeout: s.SendTimeout,
		attributes: map[string]types.MessageAttributeValue{"AWS.SNS.SMS.SMSType": attribute("String", "Transactional")},
	}
	if s.MaxPriceUSD != "" {
		out.attributes["AWS.SNS.SMS.MaxPrice"] = attribute("Number", s.MaxPriceUSD)
	}
	out.client = sns.NewFromConfig(cfg, func(o *sns.Options) {
		if s.AWSEndpointURLSNS != "" {
			o.BaseEndpoint = aws.String(s.AWSEndpointURLSNS)
		}
		o.APIOptions = append(o.APIOptions, inTime)
	})
	return out, nil
}

// inTime is the very last thing before the wire: a process that was suspended while the request was made up and signed
// begins no call whose time is over. Without it the request may be written before the timer that ends it is heard.
func inTime(stack *middleware.Stack) error {
	return stack.Deserialize.Add(middleware.DeserializeMiddlewareFunc("InTime", func(
		ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler,
	) (middleware.DeserializeOutput, middleware.Metadata, error) {
		if until, ok := ctx.Deadline(); ok && !time.Now().Before(until) { // real time: that of the call
			return middleware.DeserializeOutput{}, middleware.Metadata{}, context.DeadlineExceeded
		}
		return next.HandleDeserialize(ctx, in)
	}), middleware.After)
}

func attribute(kind, value string) types.MessageAttributeValue {
	return types.MessageAttributeValue{DataType: aws.String(kind), StringValue: aws.String(value)}
}

// send makes one call and tells what is known of it afterwards. The number and the text go nowhere else; of SNS's error
// messages, which may quote them, only what they are about is kept.
func (s *sender) send(ctx context.Context, phone, text secret.String) (messageID string, a answer) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	// Credentials may come over the network; a failure there has nothing to do with the message.
	if s.credentials == nil {
		return "", answer{Reach: reachedNothing}
	}
	if _, err := s.credentials.Retrieve(ctx); err != nil {
		return "", answer{Reach: reachedNothing}
	}
	var connected atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }})
	out, err := s.client.Publish(traced, &sns.PublishInput{
		PhoneNumber: aws.String(phone.Reveal()), Message: aws.String(text.Reveal()),
		MessageAttributes: s.senders.attributes(regionOf(phone.Reveal()), s.name, s.attributes),
	})
	if err == nil {
		return aws.ToString(out.MessageId), answer{Status: http.StatusOK}
	}
	if !connected.Load() {
		a.Reach = reachedNobody
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		a.Code, a.About = plainCode(api.ErrorCode()), aboutOf(api.ErrorMessage())
	}
	var response *smithyhttp.ResponseError
	if errors.As(err, &response) && response.HTTPStatusCode() >= http.StatusMultipleChoices {
		a.Status = response.HTTPStatusCode()
	}
	return "", a
}

var codeShape = regexp.MustCompile(`^[A-Za-z0-9.]{1,64}$`)

// plainCode makes sure that what is logged as an error code is one.
func plainCode(code string) string {
	if !codeShape.MatchString(code) {
		return "unknown"
	}
	return code
}
