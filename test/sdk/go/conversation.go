package main

import (
	"context"
	"errors"

	dapr "github.com/dapr/go-sdk/client"
	"google.golang.org/protobuf/types/known/structpb"
)

// conversation asks `echo`, and lets `gpt` call a tool.
func (run checks) conversation(ctx context.Context) error {
	said, err := run.ask(ctx, "echo", nil, userSays("write to me@example.com"))
	if err != nil {
		return err
	}
	if err := same(said.Choices[0].Message.Content, "write to <EMAIL_ADDRESS>"); err != nil {
		return err
	}
	if err := same(said.Usage.TotalTokens, uint64(6)); err != nil {
		return err
	}
	parameters, err := structpb.NewStruct(map[string]any{
		"type":       "object",
		"properties": map[string]any{"place": map[string]any{"type": "string"}},
	})
	if err != nil {
		return err
	}
	tool := &dapr.ConversationToolsAlpha2{Name: "weather", Parameters: parameters}
	question := userSays("how is the weather?")
	called, err := run.ask(ctx, "gpt", tool, question)
	if err != nil {
		return err
	}
	choice := called.Choices[0]
	if len(choice.Message.ToolCalls) != 1 {
		return errors.New("the tool was not called")
	}
	call := choice.Message.ToolCalls[0]
	wanted := []string{"tool_calls", "weather", `{"place":"Zürich"}`}
	if err := same([]string{choice.FinishReason, call.ToolTypes.Name, call.ToolTypes.Arguments}, wanted); err != nil {
		return err
	}
	asked := &dapr.ConversationMessageAlpha2{ConversationMessageOfAssistant: &dapr.ConversationMessageOfAssistantAlpha2{
		ToolCalls: choice.Message.ToolCalls,
	}}
	name := "weather"
	result := &dapr.ConversationMessageAlpha2{ConversationMessageOfTool: &dapr.ConversationMessageOfToolAlpha2{
		ToolID: &call.ID, Name: &name, Content: texts("sun"),
	}}
	final, err := run.ask(ctx, "gpt", tool, question, asked, result)
	if err != nil {
		return err
	}
	if err := same(final.Choices[0].Message.Content, "You said: sun"); err != nil {
		return err
	}
	if _, err := run.ask(ctx, "nobody", nil, question); err == nil {
		return errors.New("a component that is not there answered")
	}
	return nil
}

func (run checks) ask(
	ctx context.Context, component string, tool *dapr.ConversationToolsAlpha2, messages ...*dapr.ConversationMessageAlpha2,
) (*dapr.ConversationResultAlpha2, error) {
	scrub := true
	request := dapr.ConversationRequestAlpha2{
		Name:   component,
		Inputs: []*dapr.ConversationInputAlpha2{{Messages: messages, ScrubPII: &scrub}},
	}
	if tool != nil {
		request.Tools = []*dapr.ConversationToolsAlpha2{tool}
	}
	answer, err := run.client.ConverseAlpha2(ctx, request)
	if err != nil {
		return nil, err
	}
	if len(answer.Outputs) != 1 {
		return nil, errors.New("there is not one output")
	}
	return answer.Outputs[0], nil
}

func userSays(text string) *dapr.ConversationMessageAlpha2 {
	return &dapr.ConversationMessageAlpha2{ConversationMessageOfUser: &dapr.ConversationMessageOfUserAlpha2{Content: texts(text)}}
}

func texts(text string) []*dapr.ConversationMessageContentAlpha2 {
	return []*dapr.ConversationMessageContentAlpha2{{Text: &text}}
}
