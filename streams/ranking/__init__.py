"""From a shopper's history to ranked items: pure functions, used by the profile stage, by evaluation and by the backtest alike."""
