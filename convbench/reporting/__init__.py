"""What a person sees: tables, sentences, progress and pages. The only part that knows a terminal or HTML."""
