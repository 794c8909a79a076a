"""What a run is: model, events, decide, fold, diff. All pure."""
